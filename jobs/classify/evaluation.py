"""Scores of a network on all images of a split, each counted exactly once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from jobs import device as devices
from jobs.data.loading import Batches
from jobs.device import Precision
from jobs.job import JobContext
from jobs.training.workers import total

TOP = 5


@dataclass(frozen=True)
class Scores:
    """What an evaluation found.

    Attributes:
        images: How many were scored.
        loss: Mean cross-entropy, nats.
        top1_pct: Percent whose class came first.
        top5_pct: Percent whose class was among the first five; None with fewer than five classes.
    """

    images: int
    loss: float
    top1_pct: float
    top5_pct: float | None

    def named(self) -> dict[str, float]:
        """Return the scores under the names that results use."""
        named = {"top1_pct": self.top1_pct, "val_loss": self.loss}
        return named if self.top5_pct is None else {**named, "top5_pct": self.top5_pct}

    @property
    def is_finite(self) -> bool:
        """Whether the loss is a number."""
        return math.isfinite(self.loss)


@torch.inference_mode()
def evaluate(
    network: nn.Module, batches: Batches, *, precision: Precision, context: JobContext
) -> Scores:
    """Score a network.

    Args:
        network: (N, 3, S, S) -> (N, classes); left in the mode in which it was.
        batches: This worker's share of the images.
        precision: As in training.
        context: Over whose workers the counts are added up.

    Returns:
        The same on every worker.
    """
    was_training = network.training
    network.eval()
    # float64 counts whole images exactly up to 2**53
    sums = torch.zeros(4, dtype=torch.float64, device=context.device)
    classes = 0
    for number, (images, labels, _) in enumerate(batches):
        context.status(f"scoring: {number / len(batches):.0%}")
        labels = labels.to(context.device, non_blocking=True)
        with devices.mixed(precision, device=context.device):
            logits = network(images.to(context.device, non_blocking=True)).float()
        classes = logits.shape[1]
        first = logits.topk(min(TOP, classes)).indices
        hits = first.eq(labels[:, None])
        loss = functional.cross_entropy(logits, labels, reduction="sum")
        sums += torch.stack([hits[:, 0].sum(), hits.sum(), loss, labels.new_tensor(len(labels))])
    network.train(was_training)
    hits_1, hits_5, loss_sum, images_seen = total(sums, context).tolist()
    return Scores(
        images=int(images_seen),
        loss=loss_sum / images_seen,
        top1_pct=100 * hits_1 / images_seen,
        top5_pct=100 * hits_5 / images_seen if classes >= TOP else None,
    )
