"""Squeeze and excitation, y = x * sigmoid(W2 relu(W1 mean(x))), a part of several methods."""

from __future__ import annotations

from torch import Tensor, nn

from backbones.gate import ChannelGate, ProductGate


class SqueezeExcitation(ChannelGate):
    """Weigh the channels of a map by what the whole map holds.

    Args:
        channels: Channels of the map (C).
        hidden: Channels after the squeeze (C / r).
        bias: Whether the two linear layers have biases.
    """

    def __init__(self, channels: int, *, hidden: int, bias: bool) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, hidden, bias=bias)
        self.excite = nn.Linear(hidden, channels, bias=bias)

    def reset_parameters(self) -> None:
        """Draw both linear layers anew: PyTorch's default, as the released code of ECA's SE."""
        self.squeeze.reset_parameters()
        self.excite.reset_parameters()

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Squeeze and excite."""
        logits_NC: Tensor = self.excite(self.squeeze(mean_NC).relu())
        return logits_NC

    def fused(self) -> nn.Module:
        """Return the gate for inference, which overwrites the map that comes in."""
        return ProductGate(*((each.weight.t(), each.bias) for each in (self.squeeze, self.excite)))
