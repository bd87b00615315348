"""What a micro-batch of images costs, as a recipe of classification says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn import functional

from jobs import device as devices
from jobs.classify.mixing import Mixing
from jobs.data.draws import drawing
from jobs.recipes import Recipe
from jobs.training.loop import Place
from jobs.training.losses import MAIN

Batch = tuple[Tensor, Tensor, Tensor]
"""Images (N, 3, S, S) float32, labels (N,) int64, sample indices (N,) int64."""


@dataclass(frozen=True)
class CrossEntropy:
    """The loss of classification (a `loop.LossOf`).

    Attributes:
        recipe: Says precision and smoothing.
        mixing: Of images, or None.
        device: Where the network is.
    """

    recipe: Recipe
    mixing: Mixing | None
    device: str

    def __call__(self, network: nn.Module, batch: Batch, place: Place) -> Mapping[str, Tensor]:
        """Return the mean loss of a micro-batch."""
        images = batch[0].to(self.device, non_blocking=True)
        targets = batch[1].to(self.device, non_blocking=True)
        if self.mixing is not None:
            with drawing(place.seed):
                images, targets = self.mixing(images, targets, epoch=place.epoch)
        with devices.mixed(self.recipe.precision, device=self.device):
            logits = network(images)
        smoothing = self.recipe.label_smoothing
        loss = functional.cross_entropy(logits.float(), targets, label_smoothing=smoothing)
        return {MAIN: loss}
