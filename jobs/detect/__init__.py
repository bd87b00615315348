"""Train a detector with a backbone and score it as COCO does. The light half: spec and kind."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from backbones import method
from backbones.network import origins
from backbones.resolve import resolve
from jobs import initial as initials
from jobs.backbone import BackboneText, backbone_of
from jobs.data import source
from jobs.errors import SpecError
from jobs.job import JobKind, Json, Resources, Spec
from jobs.recipes import ChosenDetectionRecipe

_SIZES = {
    "feature_channels": "pyramid_channels",
    "hidden_channels": "box_channels",
    "mask_channels": "pyramid_channels",
    "mask_convolutions": "mask_convs",
    "proposals_before": "candidates",
    "proposals": "proposals",
    "detections": "detections",
}
"""Sizes of a benchmark's detector, and the fields of a recipe that have them."""


class DetectSpec(Spec):
    """Everything needed to repeat a training run of a detector, recipe values included."""

    backbone: BackboneText
    detector: Literal["mask_rcnn", "faster_rcnn"] = Field(
        default="mask_rcnn",
        description="Mask R-CNN (boxes and masks) or Faster R-CNN (boxes), with a feature pyramid.",
    )
    data: str = Field(
        default="digit_scenes",
        description="`digit_scenes`, or a folder in the layout of COCO 2017: "
        "annotations/instances_{train,val}2017.json, train2017/, val2017/.",
    )
    recipe: ChosenDetectionRecipe = Field(
        description="A recipe's name, its values, or {base: name, field: value, ...}."
    )
    seed: int = Field(
        default=0, ge=0, lt=2**32, description="Of initial weights, order, augmentation, sampling."
    )
    initial: str = Field(
        default=initials.SCRATCH,
        description="Initial weights of the backbone: `scratch`, `pretrained` (the library's, of "
        "the plain network), `run:ID` (a run that classifies, or one that detects the same "
        "categories; waited for), or a file of weights (.safetensors, .pt, .pth): of the backbone, "
        "or of a whole detector, ours or mmdetection's with its own ResNet.",
    )
    skip_bad: bool = Field(
        default=False,
        description="Whether to go on without images and objects that the check finds broken.",
    )
    eval_every_epochs: int = Field(
        default=1, ge=1, description="Epochs between two evaluations; the last epoch is always."
    )
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
        description="Processes that load images, for each worker; None: one a core, none for small "
        "sets.",
    )
    samples: int = Field(
        default=12, ge=0, description="Validation images that are drawn with what was found."
    )

    @field_validator("data")
    @classmethod
    def _canonical_data(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("give `digit_scenes` or a folder in the layout of COCO 2017")
        return source.canonical(text)

    @field_validator("initial")
    @classmethod
    def _canonical_initial(cls, text: str) -> str:
        return initials.canonical(text)


def precheck(spec: DetectSpec) -> None:
    """Look at what a spec names, reading names only.

    Raises:
        JobError: Data or weights are not there, or the recipe wants what the network cannot do.
    """
    source.precheck(spec.data, task="detect")
    initials.precheck(spec.initial)
    network = resolve(spec.backbone).network
    if spec.recipe.drop_path and origins()[network] != "timm":
        raise SpecError(
            f"recipe.drop_path is {spec.recipe.drop_path:g}, and {network} has no place for it, "
            "since it is not one of timm's; train it with recipe.drop_path=0"
        )
    _require_trained(spec)


def _require_trained(spec: DetectSpec) -> None:
    """Refuse to keep as they are weights and statistics that nobody trained."""
    methods = [name for name, _ in resolve(spec.backbone).methods]
    added = [name for name in methods if method.get(name).family != "plain"]
    if spec.initial == initials.SCRATCH:
        why, others = "", "pretrained, run:ID or a file"
    elif spec.initial == initials.PRETRAINED and added:
        why = f"; the library has no weights of {' and '.join(added)}"
        others = "run:ID or a file"
    else:
        return
    if spec.recipe.frozen_stages:
        raise SpecError(
            f"recipe.frozen_stages is {spec.recipe.frozen_stages}, which would keep random weights "
            f"for ever{why}; start from {others} (--set initial=...), or train all of the network "
            "(--set recipe.frozen_stages=0 --set recipe.norm_eval=false)"
        )
    if spec.recipe.norm_eval:
        raise SpecError(
            f"recipe.norm_eval keeps the statistics of untrained norms{why}; start from {others}, "
            "or set recipe.norm_eval=false"
        )


def benchmark_of(spec: DetectSpec) -> dict[str, Json]:
    """Return the fields of a `benchmark` of what a spec trains, backbone and classes left out."""
    recipe = spec.recipe
    usual = type(recipe).model_fields
    sizes = {
        part: getattr(recipe, name)
        for part, name in _SIZES.items()
        if getattr(recipe, name) != usual[name].default
    }
    height, width = recipe.counted_px
    found: dict[str, Json] = {
        "detector": spec.detector,
        "image_size": height,
        "image_width": width,
        "sizes": sizes,
        "output_norms": recipe.output_norms,
    }
    return found


KIND = JobKind(
    spec=DetectSpec,
    summary="train a detector with a backbone on COCO's layout and score its boxes and masks",
    backbone_of=backbone_of,
    resources=Resources(workers=1, cpus=1.0),
    precheck=precheck,
    parents_of=initials.parents_of,
    parent_kinds=("classify", "detect"),
    with_parent=initials.with_parent,
    benchmark_of=benchmark_of,
)
