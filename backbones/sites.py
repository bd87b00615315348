"""A site is one place in a network where a method can put something.

The records here are light (no torch); `sites` loads torch when it is called, because it runs the
network once on the `meta` device (see `survey`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backbones.resolve import Resolved

Pair = tuple[int, int]


class Slot(StrEnum):
    """What a site offers to be replaced or filled."""

    CONV = "conv"
    """One convolution or linear layer; norm and activation of the network stay."""
    CONV_NORM_ACT = "conv_norm_act"
    """A convolution with the norm (and activation) that follows it; the replacement brings its
    own."""
    GATE = "gate"
    """After a block's last normalisation and before its residual sum; the replacement maps a
    map to its like."""
    BLOCK = "block"
    """A whole residual block. Its replacement has two identities, `gate` (after its last norm and
    before the sum) and `drop_path` (after that), to be filled by a gate and by the block's own
    stochastic depth."""


class Role(StrEnum):
    """What the convolution of a site does in its network."""

    STEM = "stem"
    SPATIAL = "spatial"
    POINTWISE = "pointwise"
    EXPAND = "expand"
    PROJECT = "project"
    DEPTHWISE = "depthwise"
    SHORTCUT = "shortcut"
    DOWNSAMPLE = "downsample"
    CLASSIFIER = "classifier"
    ATTENTION = "attention"
    GATE = "gate"
    BLOCK = "block"


@dataclass(frozen=True, slots=True)
class Site:
    """One place in a network.

    An inverted residual block (a 1x1 convolution, unless it widens nothing, a depthwise and a 1x1
    one) says kernel size, stride, padding, dilation and groups of its depthwise convolution, so
    that `groups` is its width; in any other block `groups` is 1.

    Attributes:
        name: Dotted path of the module in the plain network (for a gate: the normalisation it
            follows, or the
            network's own empty gate attribute).
        slots: What the site offers.
        role: What it does in the network.
        stage: Stage, from 0; -1 before the first (stem), the number of stages after the last.
        block: Index of the block within its stage; -1 outside blocks.
        block_name: Dotted path of the residual block, empty outside blocks.
        kind: ``conv2d``, ``linear``, ``gate`` or ``block``.
        in_channels: Channels (features) in.
        out_channels: Channels (features) out.
        kernel_size: Height and width; (1, 1) for a linear layer.
        stride: Vertical and horizontal.
        padding: Vertical and horizontal zeros added on each side.
        dilation: Vertical and horizontal.
        groups: Groups of the convolution.
        bias: Whether there is a bias.
        in_size: Height and width of the map that comes in (1, 1 after pooling; tokens, 1 for a
            linear layer on tokens).
        out_size: Height and width of the map that goes out.
        norm: Dotted path of the normalisation that follows directly, empty when none does.
        act: Dotted path of the activation that follows that normalisation, empty when none does.
        act_type: ``relu``, ``relu6``, ``silu``, ``gelu``, ... of that activation, empty when none
            follows.
        block_in_channels: Channels of what comes into the residual block; 0 outside blocks and for
            a block that takes several maps.
    """

    name: str
    slots: frozenset[Slot]
    role: Role
    stage: int
    block: int
    block_name: str
    kind: str
    in_channels: int
    out_channels: int
    kernel_size: Pair = (1, 1)
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    bias: bool = False
    in_size: Pair = (1, 1)
    out_size: Pair = (1, 1)
    norm: str = ""
    act: str = ""
    act_type: str = ""
    block_in_channels: int = 0

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel is convolved alone."""
        return self.groups > 1 and self.groups == self.in_channels == self.out_channels


def sites(network: str | Resolved, *, image_size: int = 224, classes: int = 1000) -> list[Site]:
    """List the sites of a plain network in the order in which its modules stand.

    Args:
        network: Text of a backbone (its methods do not matter) or the resolved backbone.
        image_size: Side of the square input in pixels.
        classes: Width of the classifier.

    Raises:
        BackboneError: The text is wrong.
    """
    from backbones.survey import survey

    return survey(network, image_size=image_size, classes=classes)
