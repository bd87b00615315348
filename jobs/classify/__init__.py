"""Train a backbone to classify images, and score it. The light half: spec and kind, no torch."""

from __future__ import annotations

from pydantic import Field, field_validator

from backbones.network import origins
from backbones.resolve import resolve
from jobs import initial as initials
from jobs.backbone import BackboneText, backbone_of
from jobs.data import source
from jobs.errors import SpecError
from jobs.job import JobKind, Json, Resources, Spec
from jobs.recipes import ChosenRecipe


class ClassifySpec(Spec):
    """Everything needed to repeat a training run, recipe values included."""

    backbone: BackboneText
    data: str = Field(
        default="digits",
        description="`digits`, or a folder with train/<class>/ and val/<class>/, or with the "
        "official binary files of CIFAR-10 or CIFAR-100.",
    )
    recipe: ChosenRecipe = Field(
        description="A recipe's name, its values, or {base: name, field: value, ...}."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Of initial weights, order, augmentation, dropout."
    )
    initial: str = Field(
        default=initials.SCRATCH,
        description="Initial weights: `scratch`, `pretrained` (the library's, of the plain "
        "network), `run:ID` (a run that classifies; waited for), or a file of weights "
        "(.safetensors, .pt, .pth), ours or as the method's authors released it; temperatures "
        "follow the method's schedule from its beginning all the same.",
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
            raise ValueError(
                "give `digits` or a folder (with train/ and val/, or CIFAR's binary files)"
            )
        return source.canonical(text)

    @field_validator("initial")
    @classmethod
    def _canonical_initial(cls, text: str) -> str:
        return initials.canonical(text)


def _require_rates(spec: ClassifySpec) -> None:
    """Refuse dropout and drop path where they would be ignored without a word."""
    network = resolve(spec.backbone).network
    if origins()[network] != "timm":
        for name in ("dropout", "drop_path"):
            if rate := getattr(spec.recipe, name):
                raise SpecError(
                    f"recipe.{name} is {rate:g}, and {network} has no place for it, since it is "
                    f"not one of timm's; train it with recipe.{name}=0"
                )


def precheck(spec: ClassifySpec) -> None:
    """Look at what a spec names, reading names only.

    Raises:
        JobError: Data or weights are not there, or not in the layout, or the network has no place
            for what the recipe wants.
    """
    source.precheck(spec.data)
    _require_rates(spec)
    initials.precheck(spec.initial)


def benchmark_of(spec: ClassifySpec) -> dict[str, Json]:
    """Return the fields of a `benchmark` of what a spec trains, backbone and classes left out."""
    return {"image_size": spec.recipe.image_size}


KIND = JobKind(
    spec=ClassifySpec,
    summary="train a backbone on a folder of images and score it",
    backbone_of=backbone_of,
    resources=Resources(workers=1, cpus=1.0),
    precheck=precheck,
    parents_of=initials.parents_of,
    parent_kinds=("classify",),
    with_parent=initials.with_parent,
    benchmark_of=benchmark_of,
)
