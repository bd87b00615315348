"""Squeeze-and-Excitation: y = x * sigmoid(W2 relu(W1 mean(x)))  (arXiv 1709.01507).

Without a squeeze y = x * sigmoid(W mean(x))  (arXiv 1910.03151, equations 3 to 5).
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from backbones.gate import ChannelGate
from backbones.method import Replacements
from backbones.methods.se import Settings, blocks
from backbones.sites import Site
from backbones.squeeze_excitation import SqueezeExcitation


class MatrixExcitation(ChannelGate):
    """Weigh the channels of a map by one matrix, which may have blocks along its diagonal only.

    Args:
        channels: Channels of the map (C).
        blocks: Blocks (G): one learns the whole matrix, C its diagonal.
        bias: Whether something is added to the logits.
    """

    def __init__(self, channels: int, *, blocks: int, bias: bool) -> None:
        super().__init__()
        self.excite = nn.Conv1d(channels, channels, 1, groups=blocks, bias=bias)

    def reset_parameters(self) -> None:
        """Draw the matrix anew: PyTorch's default for its number of inputs, C / G."""
        self.excite.reset_parameters()

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Multiply by the matrix."""
        logits_NC1: Tensor = self.excite(mean_NC[:, :, None])
        return logits_NC1[:, :, 0]


class MeanExcitation(ChannelGate):
    """Weigh each channel of a map by its own mean; nothing is learned."""

    def reset_parameters(self) -> None:
        """Do nothing: there is nothing to draw."""

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Return the means as they are."""
        return mean_NC


def hidden_channels(channels: int, settings: Settings) -> int:
    """Return C / r to the nearest multiple of the divisor, at least one."""
    assert settings.reduction is not None
    divisor = settings.divisor
    return max(divisor, int(channels / settings.reduction / divisor + 0.5) * divisor)


def gate(channels: int, settings: Settings) -> ChannelGate:
    """Return the gate of a map of so many channels."""
    if settings.reduction is not None:
        hidden = hidden_channels(channels, settings)
        return SqueezeExcitation(channels, hidden=hidden, bias=settings.bias)
    if settings.matrix == "identity":
        return MeanExcitation()
    return MatrixExcitation(channels, blocks=blocks(channels, settings), bias=settings.bias)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Put a gate at each site.

    Args:
        sites: Gates.
        settings: Of SE.
    """
    return {site.name: gate(site.out_channels, settings) for site in sites}
