"""Which part of every step a worker does."""

from __future__ import annotations

from jobs.data.loading import Share
from jobs.errors import SpecError
from jobs.job import JobContext
from jobs.recipes.training import TrainingRecipe


def share_of(recipe: TrainingRecipe, context: JobContext, *, images: int) -> Share:
    """Return this worker's part of each step.

    Raises:
        SpecError: There is no whole step in an epoch, or the workers cannot share one.
    """
    recipe.accumulation(context.world_size)
    share = Share(
        batch_size=recipe.batch_size,
        micro_batch=recipe.micro_batch,
        rank=context.rank,
        world_size=context.world_size,
    )
    if not share.steps(images):
        raise SpecError(
            f"recipe.batch_size {recipe.batch_size} is more than the {images} training images; "
            "make it (and recipe.micro_batch) smaller"
        )
    return share
