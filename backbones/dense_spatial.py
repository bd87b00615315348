"""Which convolutions those methods take that thin out a dense kernel of several pixels. No torch.

They set a product of single pixels beside, or in place of, the kernel, and so need a pixel that
each window is centred on.
"""

from __future__ import annotations

from collections.abc import Sequence

from backbones.errors import SettingError
from backbones.sites import Role, Site

_ROLES = {Role.SPATIAL, Role.DOWNSAMPLE}


def is_dense_spatial(site: Site) -> bool:
    """Whether this is a dense convolution of odd windows, each around a pixel of the map.

    The stem, 1x1 convolutions, shortcuts, grouped convolutions, even kernels, and kernels whose
    border of zeros does not centre the first window on the first pixel are not.
    """
    if site.kind != "conv2d" or site.role not in _ROLES or site.groups > 1:
        return False
    return max(site.kernel_size) > 1 and is_centred(site)


def is_centred(site: Site) -> bool:
    """Whether windows are odd and each is around a pixel of the map, the first around the first."""
    lines = zip(site.kernel_size, site.padding, site.dilation, strict=True)
    return all(taps % 2 and 2 * zeros == apart * (taps - 1) for taps, zeros, apart in lines)


def dividing(sites: Sequence[Site], parts: int, *, text: str) -> list[Site]:
    """Return the convolutions whose channels can be divided evenly, in and out.

    Args:
        sites: Dense convolutions.
        parts: Into how many.
        text: The method and its setting, for the error.

    Raises:
        SettingError: There are convolutions, and none can be.
    """
    found = [s for s in sites if s.in_channels % parts == 0 and s.out_channels % parts == 0]
    if sites and not found:
        widths = sorted({c for s in sites for c in (s.in_channels, s.out_channels)})
        raise SettingError(
            f"{text}: {parts} divides the channels of no convolution here; they have "
            f"{', '.join(map(str, widths))} channels: write a number that divides them"
        )
    return found
