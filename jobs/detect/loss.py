"""What a micro-batch of scenes costs a detector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from jobs import device as devices
from jobs.device import Precision
from jobs.training.loop import Place
from jobs.training.losses import MAIN

_PART = "loss_"
"""Begins the names of the parts that add up to the loss."""


@dataclass(frozen=True)
class DetectionLoss:
    """The loss of a detector (a `loop.LossOf`): the sum of its heads' losses.

    Attributes:
        detector: Itself, not its parallel wrapper: it pads, normalises and adds up.
        precision: Of the forward pass.
        device: Where the detector is.
    """

    detector: Any
    precision: Precision
    device: str

    def __call__(
        self, network: nn.Module, batch: Mapping[str, Any], place: Place
    ) -> Mapping[str, Tensor]:
        """Return the loss of a micro-batch and its parts."""
        del place  # samplers draw from torch's generator, which the loop seeds
        data = self.detector.data_preprocessor(batch, training=True)
        with devices.mixed(self.precision, device=self.device):
            losses = network(**data, mode="loss")
        total, parts = self.detector.parse_losses(losses)
        return {MAIN: total, **{name: part for name, part in parts.items() if _PART in name}}
