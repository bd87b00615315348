"""Every gate of the attention methods, with the reference that it must equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from backbones.methods.cbam import Settings as CbamSettings
from backbones.methods.cbam.operator import BlockAttention
from backbones.methods.eca.operator import EfficientChannelAttention, UnsharedChannelAttention
from backbones.methods.se.operator import MatrixExcitation, MeanExcitation
from backbones.squeeze_excitation import SqueezeExcitation
from tests.backbones.closeness import Reference
from tests.backbones.reference_cbam import block_attention
from tests.backbones.reference_eca import efficient_channel_attention
from tests.backbones.reference_se import matrix_excitation, mean_excitation, squeeze_excitation
from tests.backbones.small_sites import shake

CHANNELS = 12


@dataclass(frozen=True)
class Gate:
    """A kind of gate.

    Attributes:
        make: Makes one for `CHANNELS` channels.
        reference: What it has to give, in training or not.
    """

    make: Callable[[], nn.Module]
    reference: Callable[[bool], Reference]

    def shaken(self) -> nn.Module:
        """Make one whose norm and shifts matter."""
        gate = self.make()
        shake(gate)
        return gate


def _se(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    return squeeze_excitation(
        x,
        w1=state["squeeze.weight"],
        w2=state["excite.weight"],
        b1=state.get("squeeze.bias"),
        b2=state.get("excite.bias"),
    )


def _matrix(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    return matrix_excitation(x, w=state["excite.weight"][:, :, 0], b=state.get("excite.bias"))


def _mean(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    del state
    return mean_excitation(x)


def _eca(x: Tensor, state: Mapping[str, Tensor]) -> Tensor:
    return efficient_channel_attention(x, taps=state["conv.weight"][:, 0])


def _still(reference: Reference) -> Callable[[bool], Reference]:
    """Return a reference that is the same in training."""
    return lambda training: reference


def _cbam(settings: CbamSettings) -> Gate:
    def reference(training: bool) -> Reference:
        return lambda x, state: block_attention(
            x, state, maximum_first=settings.form == "authors", training=training
        )

    return Gate(lambda: BlockAttention(CHANNELS, settings), reference)


GATES: Mapping[str, Gate] = {
    "se": Gate(lambda: SqueezeExcitation(CHANNELS, hidden=4, bias=False), _still(_se)),
    "se, bias": Gate(lambda: SqueezeExcitation(CHANNELS, hidden=4, bias=True), _still(_se)),
    "se, full": Gate(lambda: MatrixExcitation(CHANNELS, blocks=1, bias=True), _still(_matrix)),
    "se, blocks": Gate(lambda: MatrixExcitation(CHANNELS, blocks=3, bias=False), _still(_matrix)),
    "se, diagonal": Gate(
        lambda: MatrixExcitation(CHANNELS, blocks=CHANNELS, bias=True), _still(_matrix)
    ),
    "se, identity": Gate(MeanExcitation, _still(_mean)),
    "eca, one tap": Gate(lambda: EfficientChannelAttention(CHANNELS, 1), _still(_eca)),
    "eca": Gate(lambda: EfficientChannelAttention(CHANNELS, 3), _still(_eca)),
    "eca, more taps": Gate(lambda: EfficientChannelAttention(CHANNELS, 7), _still(_eca)),
    "eca, not shared": Gate(lambda: UnsharedChannelAttention(CHANNELS, 5), _still(_eca)),
    "cbam": _cbam(CbamSettings(reduction=4)),
    "cbam, timm": _cbam(CbamSettings(reduction=4, form="timm")),
    "cbam, channels": _cbam(CbamSettings(reduction=4, spatial=False)),
    "cbam, places": _cbam(CbamSettings(channel=False, kernel=3)),
}
