"""The attentions of ODConv, from one squeeze of the input.

Shape suffixes: N images, C channels of the input, O filters, S positions of the kernel, K kernels.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor, nn

from backbones.methods.odconv import (
    Settings,
    attends_filters,
    attends_positions,
    hidden_channels,
)
from backbones.sample_norm import SampleNorm
from backbones.sites import Site


class Gates(NamedTuple):
    """What each attention says about each image; None where a layer has it not.

    Attributes:
        channel: (N, C), 0 to 1.
        filter: (N, O), 0 to 1.
        spatial: (N, S), 0 to 1, positions row by row.
        kernel: (N, K); each row sums to 1.
    """

    channel: Tensor | None
    filter: Tensor | None
    spatial: Tensor | None
    kernel: Tensor | None


class Attention(nn.Module):
    """Weigh channels, filters, positions and kernels of one layer for each image.

    Args:
        site: The layer.
        settings: Of ODConv.
    """

    def __init__(self, site: Site, settings: Settings) -> None:
        super().__init__()
        hidden = hidden_channels(site, settings)
        self.reduce = nn.Linear(site.in_channels, hidden, bias=False)
        self.norm = SampleNorm(hidden)
        self.act = nn.ReLU(inplace=True)
        positions = math.prod(site.kernel_size)
        self.channel = nn.Linear(hidden, site.in_channels) if settings.channel else None
        self.filter = (
            nn.Linear(hidden, site.out_channels) if attends_filters(site, settings) else None
        )
        self.spatial = nn.Linear(hidden, positions) if attends_positions(site, settings) else None
        self.kernel = nn.Linear(hidden, settings.kernels) if settings.kernels > 1 else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weights (Kaiming normal over outputs), set biases to 0 and the norm to identity."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        self.norm.reset_parameters()

    def forward(self, pooled_NC: Tensor, *, temperature: float) -> Gates:
        """Weigh.

        Args:
            pooled_NC: (N, C) mean of the layer's input over its positions.
            temperature: At least 1; divides the logits of all attentions.
        """
        hidden: Tensor = self.act(self.norm(self.reduce(pooled_NC)))
        channel, filter_, spatial, kernel = (
            None if head is None else head(hidden) / temperature
            for head in (self.channel, self.filter, self.spatial, self.kernel)
        )
        return Gates(
            channel=None if channel is None else channel.sigmoid(),
            filter=None if filter_ is None else filter_.sigmoid(),
            spatial=None if spatial is None else spatial.sigmoid(),
            kernel=None if kernel is None else kernel.softmax(1),
        )
