"""The images of a training run: listed, checked, cut and loaded."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from jobs.classify import ClassifySpec
from jobs.data import augmentation, source
from jobs.data.division import divide
from jobs.data.imagefolder import Listing, Sample
from jobs.data.loading import (
    KEEP_DECODED_MIB,
    Batches,
    Images,
    InTurn,
    MicroBatches,
    make_loader,
)
from jobs.data.verdict import Verdict, drop_bad, inspect
from jobs.job import JobContext
from jobs.training.share import share_of


@dataclass(frozen=True)
class Data:
    """What a run trains on and is scored on.

    Attributes:
        classes: Names in the order of their labels.
        train: Training images.
        scored: Images that are scored.
        verdict: What reading every image told.
        order: Which images come when; set before an epoch is loaded.
        train_batches: This worker's micro-batches, in that order.
        scored_batches: This worker's share of the scored images.
        steps_per_epoch: Optimiser steps of an epoch.
    """

    classes: tuple[str, ...]
    train: tuple[Sample, ...]
    scored: tuple[Sample, ...]
    verdict: Verdict
    order: MicroBatches
    train_batches: Batches
    scored_batches: Batches
    steps_per_epoch: int


def check_images(spec: ClassifySpec, context: JobContext) -> tuple[Listing, Verdict]:
    """List the images and read each once, unless that was done before.

    Returns:
        The sound images, and what reading all of them told.

    Raises:
        DatasetError: The layout is wrong, or too many images cannot be read.
    """
    listing = source.read_listing(source.locate(spec.data, context.cache))
    # twice as many readers as cores, since half of them wait for the disk
    verdict = inspect(
        listing, cache=context.cache, threads=2 * context.threads, status=context.status
    )
    return drop_bad(listing, verdict, max_bad_pct=spec.max_bad_pct), verdict


def load_data(spec: ClassifySpec, context: JobContext) -> Data:
    """Make everything ready to load batches.

    Raises:
        DatasetError: As `check_images`.
        SpecError: The batch is larger than the training set, or cannot be shared by the workers.
    """
    listing, verdict = check_images(spec, context)
    train, scored = cut(spec, listing)
    recipe = spec.recipe
    share = share_of(recipe, context, images=len(train))
    keep = verdict.decoded_mib < KEEP_DECODED_MIB
    processes = _loader_processes(spec, context, keep=keep)
    order = MicroBatches(len(train), share=share, seed=spec.seed)
    in_turn = InTurn(
        len(scored), batch=spec.eval_batch, rank=context.rank, world_size=context.world_size
    )
    train_images, scored_images = (
        Images(
            listing.contents,
            samples,
            transform=transform,
            seed=spec.seed,
            # what loader processes keep, each would keep for itself
            keep=keep and processes == 0,
        )
        for samples, transform in (
            (train, augmentation.training(recipe)),
            (scored, augmentation.evaluation(recipe)),
        )
    )
    load = partial(make_loader, processes=processes, device=context.device)
    return Data(
        classes=listing.classes,
        train=train,
        scored=scored,
        verdict=verdict,
        order=order,
        train_batches=load(train_images, order),
        scored_batches=load(scored_images, in_turn),
        steps_per_epoch=share.steps(len(train)),
    )


def cut(spec: ClassifySpec, listing: Listing) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
    """Return the training images and the scored ones."""
    train, scored = listing.train, listing.val
    if spec.holdout_pct:
        scored, train = divide(train, pct=spec.holdout_pct, purpose="holdout")
    if spec.train_pct < 100:
        train, _ = divide(train, pct=spec.train_pct, purpose="train")
    return train, scored


def _loader_processes(spec: ClassifySpec, context: JobContext, *, keep: bool) -> int:
    if spec.loader_workers is not None:
        return spec.loader_workers
    return 0 if keep else context.threads
