"""Efficient Channel Attention: y = x * sigmoid(conv1d(mean(x)))  (arXiv 1910.03151)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from backbones.channel_attention import ChannelGate
from backbones.method import Replacements
from backbones.methods.eca import Settings, kernel_size
from backbones.sites import Site


class EfficientChannelAttention(ChannelGate):
    """Weigh each channel of a map by the means of its neighbours.

    Args:
        taps: Channels that one weight looks at (k), odd.
    """

    def __init__(self, taps: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, taps, padding=taps // 2, bias=False)

    def reset_parameters(self) -> None:
        """Draw the taps anew: PyTorch's default, as the released code."""
        self.conv.reset_parameters()

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Convolve the means along the channels (equation 9)."""
        logits_N1C: Tensor = self.conv(mean_NC[:, None, :])
        return logits_N1C[:, 0]


class UnsharedChannelAttention(ChannelGate):
    """Weigh each channel of a map by the means of its neighbours with taps of its own (ECA-NS).

    Args:
        channels: Channels of the map (C).
        taps: Channels that one weight looks at (k), odd.
    """

    def __init__(self, channels: int, taps: int) -> None:
        super().__init__()
        self.reach = taps // 2
        self.conv = nn.Conv1d(channels, channels, taps, groups=channels, bias=False)

    def reset_parameters(self) -> None:
        """Draw the taps anew: PyTorch's default, as the released code."""
        self.conv.reset_parameters()

    def logits(self, mean_NC: Tensor) -> Tensor:
        """Weigh the k means around each channel (equation 7)."""
        padded = functional.pad(mean_NC, (self.reach, self.reach))
        logits_NC1: Tensor = self.conv(padded.unfold(1, 2 * self.reach + 1, 1))
        return logits_NC1[:, :, 0]


def gate(site: Site, settings: Settings) -> ChannelGate:
    """Return the gate of a site."""
    taps = kernel_size(site.out_channels, stage=site.stage, settings=settings)
    if settings.shared:
        return EfficientChannelAttention(taps)
    return UnsharedChannelAttention(site.out_channels, taps)


def plan(sites: Sequence[Site], settings: Settings) -> Replacements:
    """Put a gate at each site.

    Args:
        sites: Gates.
        settings: Of ECA.
    """
    return {site.name: gate(site, settings) for site in sites}
