"""Scores of a detector on all images of a split, and what it found on them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from detection.evaluation import Scores
from detection.evaluation import evaluate as score
from detection.found import Found, from_sample, results
from jobs import device as devices
from jobs.detect import DetectSpec
from jobs.detect.data import Batches, Data
from jobs.errors import InterruptedRunError
from jobs.job import JobContext


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        scores: The same on every worker.
        found: On every image, in the order of their numbers; empty but on worker 0.
        entries: The same in COCO's results format; likewise.
    """

    scores: Scores
    found: list[Found]
    entries: list[dict[str, Any]]


def evaluate(
    detector: nn.Module, data: Data, *, spec: DetectSpec, context: JobContext
) -> Evaluated:
    """Score a detector.

    Args:
        detector: mmdet's; left in the mode in which it was.
        data: Its validation images, of which each worker takes its share.
        spec: Says precision and whether masks are scored.
        context: The workers that share the work.

    Raises:
        InterruptedRunError: The context asked to stop.
    """
    was_training = detector.training
    detector.eval()
    images = data.checked.val.count
    found_here = _found(detector, data.val_batches, images=images, spec=spec, context=context)
    mine = list(found_here)
    detector.train(was_training)
    found = sorted(_gathered(mine, context), key=lambda one: one.image_id)
    scores, entries = None, []
    if context.rank == 0:
        context.status("scoring what was found")
        entries = results(found, category_ids=data.category_ids)
        masks = spec.detector == "mask_rcnn"
        annotations = data.checked.val.annotations
        scores = score(annotations, entries, masks=masks, threads=context.threads)
    return Evaluated(_told(scores, context), found, entries)


@torch.inference_mode()
def _found(
    detector: Any, batches: Batches, *, images: int, spec: DetectSpec, context: JobContext
) -> Iterator[Found]:
    # as many as every worker has, since all must ask alike
    asking = images // context.world_size
    for number, batch in enumerate(batches):
        stop = context.stop_requested() if number < asking else None
        if stop:
            raise InterruptedRunError(stop)
        data = detector.data_preprocessor(batch, training=False)
        with devices.mixed(spec.recipe.precision, device=context.device):
            samples = detector(**data, mode="predict")
        yield from map(from_sample, samples)
        context.status(f"looking at validation images: {number / len(batches):.0%}")


def _gathered(mine: list[Found], context: JobContext) -> list[Found]:
    """Return what all workers found, on worker 0; nothing on the others."""
    if context.world_size == 1:
        return mine
    parts: list[list[Found]] | None = [[]] * context.world_size if context.rank == 0 else None
    dist.gather_object(mine, parts, dst=0)
    return [found for part in parts or () for found in part]


def _told(scores: Scores | None, context: JobContext) -> Scores:
    """Return worker 0's scores on every worker."""
    if context.world_size > 1:
        box = [scores]
        dist.broadcast_object_list(box, src=0)
        scores = box[0]
    if scores is None:
        raise RuntimeError("worker 0 told no scores")
    return scores
