"""Train a backbone to classify images, and score it. The light half: spec and kind, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from jobs import recipes
from jobs.backbone import BackboneText, backbone_of
from jobs.data import source
from jobs.errors import SpecError
from jobs.job import JobKind, Resources, Spec
from jobs.recipes import Recipe

SCRATCH = "scratch"
PRETRAINED = "pretrained"


def _recipe_values(given: object) -> object:
    """Turn a recipe's name, or changes of a named one, into its values."""
    if isinstance(given, Recipe):
        return given
    try:
        if isinstance(given, str):
            return recipes.get(given)
        if isinstance(given, Mapping) and "base" in given:
            changes = {key: value for key, value in given.items() if key != "base"}
            base = recipes.get(str(given["base"]))
            # named as a backbone is: what differs stands in brackets
            differing = ",".join(f"{k}={v}" for k, v in changes.items() if k != "name")
            name = f"{base.name}({differing})" if differing else base.name
            return {**base.model_dump(), "name": name, **changes}
    except SpecError as error:
        raise ValueError(str(error)) from error
    return given


class ClassifySpec(Spec):
    """Everything needed to repeat a training run, recipe values included."""

    backbone: BackboneText
    data: str = Field(
        default="digits",
        description="`digits`, or a folder with train/<class>/ and val/<class>/.",
    )
    recipe: Annotated[Recipe, BeforeValidator(_recipe_values)] = Field(
        description="A recipe's name, its values, or {base: name, field: value, ...}."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Of initial weights, order, augmentation, dropout."
    )
    initial: str = Field(
        default=SCRATCH,
        description="Initial weights: `scratch`, `pretrained` (the library's, of the plain "
        "network), or a file of weights (.safetensors, .pt, .pth).",
    )
    max_bad_pct: float = Field(
        default=1.0,
        ge=0,
        le=100,
        description="Unreadable images of a split that are skipped, in percent; more end the run.",
    )
    train_pct: float = Field(
        default=100.0, gt=0, le=100, description="Share of each class's training images used, %."
    )
    holdout_pct: float = Field(
        default=0.0,
        ge=0,
        lt=100,
        description="Share of each class's training images that is scored in the place of val, %: "
        "for sweeps, which must not look at the images that rank.",
    )
    eval_batch: int = Field(default=256, ge=1, description="Images of one evaluation pass.")
    checkpoint_every_s: float = Field(
        default=300.0,
        gt=0,
        description="Seconds between checkpoints within an epoch; each epoch's end makes one too.",
    )
    log_every_steps: int = Field(
        default=10, ge=1, description="Steps between two looks at the loss on a GPU (CPU: each)."
    )
    loader_workers: int | None = Field(
        default=None,
        ge=0,
        description="Processes that load images, for each worker; None: none for a set that fits "
        "into memory, else one a core.",
    )

    @field_validator("data")
    @classmethod
    def _canonical_data(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("give `digits` or a folder with train/ and val/")
        return source.canonical(text)

    @field_validator("initial")
    @classmethod
    def _canonical_initial(cls, text: str) -> str:
        if text in {SCRATCH, PRETRAINED}:
            return text
        return str(Path(text).expanduser().absolute())


def precheck(spec: ClassifySpec) -> None:
    """Look at what a spec names, reading names only.

    Raises:
        JobError: Data or weights are not there, or not in the layout.
    """
    source.precheck(spec.data)
    if spec.initial not in {SCRATCH, PRETRAINED} and not Path(spec.initial).is_file():
        raise SpecError(
            f"initial: no file {spec.initial}; use {SCRATCH}, {PRETRAINED} or a file of weights"
        )


KIND = JobKind(
    spec=ClassifySpec,
    summary="train a backbone on a folder of images and score it",
    backbone_of=backbone_of,
    resources=Resources(workers=1, cpus=1.0),
    precheck=precheck,
)
