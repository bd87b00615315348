"""The detector of a run with its initial weights."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from backbones import weights
from backbones.build import build
from backbones.errors import BackboneError, WeightsError
from detection.cost import detector_cost
from detection.detector import make_detector
from detection.errors import DetectionError
from detection.settings import Sizes
from jobs import initial as initials
from jobs.detect import DetectSpec
from jobs.errors import SpecError
from jobs.job import Json, Parent
from jobs.recipes import DetectionRecipe
from jobs.training.state import scored_weights

logger = logging.getLogger(__name__)

_CLASSES = 1000
"""Width of the classifier that is cut away."""
_IMAGE_SIZE = 224
"""Side of the images for which a backbone is built when nobody trained it before."""


def make_network(
    spec: DetectSpec, *, classes: int, device: str, parent: Parent | None = None
) -> nn.Module:
    """Make the detector of a spec and give it its initial weights.

    Args:
        spec: Says which, from which seed, and from what weights.
        classes: Categories.
        device: Where.
        parent: The run that `spec.initial` names.

    Raises:
        SpecError: The detector cannot be made, or the weights cannot be had or do not fit.
    """
    pretrained = spec.initial == initials.PRETRAINED
    try:
        detector = make_detector(
            spec.detector,
            backbone=spec.backbone,
            classes=classes,
            image_size=built_for(parent),
            seed=spec.seed,
            device=device,
            frozen_stages=spec.recipe.frozen_stages,
            norm_eval=spec.recipe.norm_eval,
            drop_path=spec.recipe.drop_path,
            output_norms=spec.recipe.output_norms,
            pretrained=pretrained,
            prepare=_preparation(spec, parent),
            sizes=sizes_of(spec.recipe),
        )
    except WeightsError as error:
        raise SpecError(f"initial: {error}") from error
    except (BackboneError, DetectionError) as error:
        raise SpecError(str(error)) from error
    except (OSError, RuntimeError) as error:
        if not pretrained:
            raise
        raise SpecError(
            f"the library's weights for {spec.backbone} cannot be had ({error}); use "
            f"initial={initials.RUN}ID, a file of weights, or {initials.SCRATCH}"
        ) from error
    if parent is not None and parent.kind == "detect":
        _fill(detector, scored_weights(parent.folder), parent=parent, classes=classes)
    return detector


def check_initial(spec: DetectSpec, *, classes: int, parent: Parent | None = None) -> None:
    """See that initial weights of a file or a run fit, without making the detector.

    Args:
        spec: Says which weights and which detector.
        classes: Categories.
        parent: The run that `spec.initial` names.

    Raises:
        SpecError: They cannot be read or do not fit.
    """
    source = _source(spec, parent)
    if source is not None:
        network = build(
            spec.backbone, classes=_CLASSES, image_size=built_for(parent), device="meta"
        )
        try:
            weights.recognise(network, source, backbone=spec.backbone, own_classes=_CLASSES)
        except WeightsError as error:
            raise SpecError(f"initial: {error}") from error
    elif parent is not None:
        detector = make_detector(
            spec.detector,
            backbone=spec.backbone,
            classes=classes,
            image_size=built_for(parent),
            device="meta",
            output_norms=spec.recipe.output_norms,
            sizes=sizes_of(spec.recipe),
        )
        _require_same(detector, scored_weights(parent.folder), parent=parent, classes=classes)


def sizes_of(recipe: DetectionRecipe) -> Sizes:
    """Return how large the parts of a recipe's detector are."""
    return Sizes(
        feature_channels=recipe.pyramid_channels,
        hidden_channels=recipe.box_channels,
        mask_channels=recipe.pyramid_channels,
        mask_convolutions=recipe.mask_convs,
        anchor_scales=(recipe.anchor_scale,),
        proposals_before=recipe.candidates,
        proposals=recipe.proposals,
        anchor_samples=recipe.anchors,
        region_samples=recipe.regions,
        detections=recipe.detections,
    )


def cost_of(spec: DetectSpec, *, classes: int, parent: Parent | None = None) -> dict[str, Json]:
    """Return what the detector and its backbone cost, under the names of facts.

    Counted is one image of `DetectionRecipe.counted_px`, with as many regions as there may be.
    """
    height, width = spec.recipe.counted_px
    cost = detector_cost(
        spec.detector,
        backbone=spec.backbone,
        classes=classes,
        image_size=built_for(parent),
        height=height,
        width=width,
        output_norms=spec.recipe.output_norms,
        sizes=sizes_of(spec.recipe),
    )
    backbone = cost.parts["backbone"]
    return {
        "params": cost.params,
        "madds": cost.madds,
        "madds_assembly": cost.madds_assembly,
        "backbone_params": backbone.params,
        "backbone_madds": backbone.madds,
        "cost_size": f"{height}x{width}",
        "built_for": built_for(parent),
    }


def _preparation(spec: DetectSpec, parent: Parent | None) -> Callable[[nn.Module], None] | None:
    source = _source(spec, parent)
    if source is None:
        return None
    return partial(_load, source=source, backbone=spec.backbone)


def _source(spec: DetectSpec, parent: Parent | None) -> str | dict[str, Tensor] | None:
    """Return the file, or the weights of the run, that the backbone is to be filled with."""
    if parent is not None and parent.kind == "classify":
        return scored_weights(parent.folder, ema=bool(parent.facts.get("ema")))
    return spec.initial if initials.is_file(spec.initial) else None


def _load(network: nn.Module, *, source: str | dict[str, Tensor], backbone: str) -> None:
    fit = weights.load(network, source, backbone=backbone, own_classes=_CLASSES)
    logger.info("initial weights of the backbone", extra={"found": str(fit)})


def _fill(detector: nn.Module, state: dict[str, Tensor], *, parent: Parent, classes: int) -> None:
    _require_same(detector, state, parent=parent, classes=classes)
    detector.load_state_dict(state)


def _require_same(
    detector: nn.Module, state: dict[str, Tensor], *, parent: Parent, classes: int
) -> None:
    """Refuse the weights of another detector.

    Raises:
        SpecError: Names or shapes differ.
    """
    theirs = {name: tuple(tensor.shape) for name, tensor in state.items()}
    ours = {name: tuple(tensor.shape) for name, tensor in detector.state_dict().items()}
    differing = sorted(dict(theirs.items() ^ ours.items()))
    if differing:
        first = differing[0]
        raise SpecError(
            f"initial: the detector of that run (of {parent.facts.get('classes')} categories) is "
            f"not this one (of {classes}): {len(differing)} of its tensors differ, such as {first} "
            f"(there {theirs.get(first)}, here {ours.get(first)}); start from the run that trained "
            "its backbone"
        )


def built_for(parent: Parent | None) -> int:
    """Return the side of the images for which a backbone is built: those it was trained on."""
    facts = parent.facts if parent is not None else {}
    side = facts.get("built_for", facts.get("image_size"))
    return side if isinstance(side, int) else _IMAGE_SIZE
