"""DiCE, dimension-wise convolutions and fusion (Mehta et al., 2019, arXiv 1906.03516).

The unit convolves a volume along each of its three dimensions: with a kernel for each channel over
height and width, for each row over channels and width, and for each column over channels and
height. A learned mean of the three versions of a channel (local fusion) is projected by a 3x3
convolution in as many groups as divide both widths, and weighed by a gate that sees its mean over
the map (global fusion). The networks that the paper builds of it are `dicenet_0_2` to
`dicenet_2_4`.

As a method (our choice; what the paper puts into other networks is in a version whose tables we do
not have): dense 3x3 convolutions that a norm follows change, with that norm and the activation
after it, because the unit ends in a norm and a PReLU of its own, and is multiplied by the gate
after that. So a convolution whose norm the network leaves linear (the last one of a residual
branch) gets a PReLU, too. The stem, shortcuts, 1x1, grouped, dilated and depthwise convolutions
stay. Where the convolution strides, its input is averaged over 3x3 windows first, as in the
paper's strided unit. Rows and columns have kernels of their own, so the unit is built for the map
that it gets at the image size of the network; other maps are resized for these two convolutions.

The released code is followed for counts and results; it builds each kernel of rows and columns with
a stride of 1, no bias and a border of zeros along the channels, too.
"""

from __future__ import annotations

from backbones.dense_spatial import is_centred, is_dense_spatial
from backbones.method import Method, MethodSettings
from backbones.sites import Site, Slot

_FEWEST_CHANNELS = 4


class Settings(MethodSettings):
    """DiCE has none: each kernel is 3x3, and the hidden layer of the gate a quarter as wide."""


def takes(site: Site, settings: Settings) -> bool:
    """Take dense 3x3 convolutions without dilation that keep their place, of four channels up."""
    del settings
    return (
        is_dense_spatial(site)
        and is_centred(site)
        and site.kernel_size == (3, 3)
        and site.dilation == (1, 1)
        and site.in_channels >= _FEWEST_CHANNELS
    )


METHOD = Method(
    title="DiCE",
    arxiv="1906.03516",
    venue="Mehta et al., 2019",
    family="static",
    slot=Slot.CONV_NORM_ACT,
    settings=Settings,
    takes=takes,
)
