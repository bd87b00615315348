"""What folded layers share: weights that took up a norm, and their layout for oneDNN."""

from __future__ import annotations

from typing import Any, Self, cast

from torch import nn

from backbones.fusion.affine import Affine, scaled, shifted

_Weights = tuple[nn.Parameter, nn.Parameter | None]


class Folded(nn.Module):
    """Base of layers for inference that keep their weights laid out as they are computed with.

    The layout follows from the weights: it is neither moved, copied nor stored, but made anew.
    """

    _packed: Any = None

    def _apply(self, *arguments: Any, **named: Any) -> Self:
        self._packed = None
        moved = super()._apply(*arguments, **named)  # type: ignore[no-untyped-call]  # torch's gap
        return cast("Self", moved)

    def __getstate__(self) -> dict[str, Any]:
        """Leave the layout out."""
        return {**self.__dict__, "_packed": None}


def taken_up(layer: nn.Conv2d | nn.Linear, affine: Affine | None) -> _Weights:
    """Return weight and bias of a layer whose outputs are scaled and shifted."""
    weight, bias = layer.weight, layer.bias
    if affine is not None:
        bias = shifted(bias, affine, like=weight)
        weight = scaled(weight, affine[0])
    still = nn.Parameter(weight.detach(), requires_grad=False)
    return still, None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)
