"""What the training protocols of all kinds of runs have in common."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from functools import partial
from operator import eq
from typing import Literal, Self

from pydantic import Field, model_validator

from jobs.errors import SpecError
from jobs.job import Spec

Span = tuple[float, float]

Fault = tuple[object, str]
"""Whether something is wrong, and what."""


class TrainingRecipe(Spec):
    """Steps, optimiser and learning rate: the part of a recipe that the training loop reads.

    Seed, backbone, resources and what belongs to a method (temperatures, its own dropout) stand
    elsewhere. A field that is added later is left out of what is stored and hashed while it has
    its default (`exclude_if`), so that runs from before stay comparable and go on.
    """

    name: str = Field(description="What listings call it; not part of the hash.")

    epochs: int = Field(ge=1, description="Passes over the training images.")
    batch_size: int = Field(
        ge=1, description="Images that one optimiser step sees, all workers together."
    )
    micro_batch: int = Field(
        ge=1,
        description="Images of one forward pass on one worker, which batch normalisation sees "
        "together; gradient accumulation fills the rest of `batch_size`.",
    )

    optimiser: Literal["sgd", "adamw"] = Field(default="sgd", description="Optimiser.")
    lr: float = Field(gt=0, description="Peak learning rate, for `batch_size` as it is.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum (SGD).")
    nesterov: bool = Field(default=False, description="Nesterov's form of momentum (SGD).")
    betas: Span = Field(
        default=(0.9, 0.999), description="Decay of both moments, each in [0, 1) (AdamW)."
    )
    weight_decay: float = Field(
        default=0.0, ge=0, description="Weight decay: L2 in SGD, decoupled in AdamW."
    )
    clip_grad: float | None = Field(
        default=None, gt=0, description="Largest norm of all gradients; None: any."
    )

    schedule: Literal["cosine", "step", "linear", "cycles"] = Field(
        default="cosine",
        description="Course of the learning rate after warm-up, set anew at every step; `cycles`: "
        "saw teeth, then linear, set anew at every epoch.",
    )
    min_lr: float = Field(
        default=0.0, ge=0, description="Learning rate at the end (cosine, linear)."
    )
    step_epochs: tuple[int, ...] = Field(
        default=(), description="Epochs at which it is multiplied (step)."
    )
    gamma: float = Field(
        default=0.1, gt=0, le=1, description="By what it is multiplied there (step)."
    )
    cycles: int = Field(
        default=0,
        ge=0,
        exclude_if=partial(eq, 0),
        description="How often it falls from `lr` to the lowest rate of a cycle, after one epoch "
        "at that rate (cycles).",
    )
    cycle_epochs: int = Field(
        default=0,
        ge=0,
        exclude_if=partial(eq, 0),
        description="Epochs of a cycle; also by what `lr` is divided in its last epoch (cycles).",
    )
    warmup_epochs: float = Field(
        default=0.0, ge=0, description="Epochs of linear rise at the start."
    )
    warmup_lr: float = Field(default=0.0, ge=0, description="Learning rate from which it rises.")

    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        default="fp32",
        description="Arithmetic of training and evaluation: IEEE single; single with TF32 "
        "products (GPU); mixed with bfloat16; mixed with half precision (GPU).",
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for wrong, message in self._faults():
            if wrong:
                raise ValueError(message)
        return self

    def _faults(self) -> Iterable[Fault]:
        """Yield what must not be, each with whether it is so."""
        yield from (
            (
                self.batch_size % self.micro_batch,
                f"micro_batch {self.micro_batch} does not divide batch_size {self.batch_size}",
            ),
            (
                self.schedule == "step" and not self.step_epochs,
                "schedule 'step' needs step_epochs, e.g. [30, 60, 90]",
            ),
            (
                list(self.step_epochs) != sorted(set(self.step_epochs)),
                f"step_epochs must grow, found {list(self.step_epochs)}",
            ),
            (
                self.warmup_epochs >= self.epochs,
                f"warmup_epochs {self.warmup_epochs:g} leaves nothing of epochs {self.epochs}; "
                "warm up for less (0: not at all) or train for longer",
            ),
            (
                not all(0 <= beta < 1 for beta in self.betas),
                f"betas must lie in [0, 1), found {list(self.betas)}",
            ),
            (self.nesterov and not self.momentum, "nesterov needs a momentum above 0"),
            *_wrong_cycles(self),
        )

    @property
    def peak_lr(self) -> float:
        """Learning rate after warm-up."""
        return self.lr

    @property
    def first_lr(self) -> float:
        """Learning rate from which it rises in warm-up."""
        return self.warmup_lr

    @property
    def scored_px(self) -> str:
        """Size of the images that are scored, px: ``224``, or ``800x1333`` (shorter x longer)."""
        raise NotImplementedError

    def rising_steps(self, steps_per_epoch: int) -> float:
        """Return after how many steps the learning rate is at its peak."""
        return self.warmup_epochs * steps_per_epoch

    def digest(self) -> str:
        """Return a hash (16 hex digits) of the values without the name."""
        values = self.model_dump(mode="json", exclude={"name"})
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def micro_batches(self) -> int:
        """Micro-batches of one optimiser step, all workers together."""
        return self.batch_size // self.micro_batch

    def accumulation(self, world_size: int) -> int:
        """Return how many micro-batches each worker adds up for one optimiser step.

        Args:
            world_size: Number of workers, from 1.

        Raises:
            SpecError: So many workers cannot share the batch evenly.
        """
        if self.micro_batches % world_size:
            fitting = [n for n in range(1, self.micro_batches + 1) if self.micro_batches % n == 0]
            raise SpecError(
                f"{world_size} workers cannot share batch_size {self.batch_size} in "
                f"micro-batches of {self.micro_batch}; {', '.join(map(str, fitting))} workers can"
            )
        return self.micro_batches // world_size


def _wrong_cycles(recipe: TrainingRecipe) -> list[tuple[bool, str]]:
    """Say what of a schedule of cycles does not fit, each with whether it is so."""
    if recipe.schedule != "cycles":
        idle = bool(recipe.cycles or recipe.cycle_epochs)
        return [(idle, "cycles and cycle_epochs need schedule 'cycles'")]
    cyclic = 1 + recipe.cycles * recipe.cycle_epochs
    return [
        (cyclic == 1, "schedule 'cycles' needs cycles and cycle_epochs, e.g. 12 and 5"),
        (
            cyclic >= recipe.epochs,
            f"one epoch and {recipe.cycles} cycles of {recipe.cycle_epochs} leave nothing of "
            f"epochs {recipe.epochs} for the linear fall",
        ),
        (recipe.warmup_epochs > 0, "schedule 'cycles' has no warm-up; set warmup_epochs to 0"),
    ]
