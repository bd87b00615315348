"""The detector of a run with its initial weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from backbones.errors import BackboneError, WeightsError
from detection import weights as detectors
from detection.cost import detector_cost
from detection.detector import make_detector
from detection.errors import DetectionError
from detection.settings import Sizes
from jobs import initial as initials
from jobs.detect import DetectSpec
from jobs.detect.start import Start, built_for, check_backbone, explained, load_backbone, start_of
from jobs.errors import SpecError
from jobs.job import Json, Parent
from jobs.recipes import DetectionRecipe


def make_network(
    spec: DetectSpec,
    *,
    classes: int,
    device: str,
    parent: Parent | None = None,
    side: int | None = None,
) -> nn.Module:
    """Make the detector of a spec and give it its initial weights.

    Args:
        spec: Says which, from which seed, and from what weights.
        classes: Categories.
        device: Where.
        parent: The run that `spec.initial` names.
        side: Of the images for which the backbone is built, px; None: what the parent saw.

    Raises:
        SpecError: The detector cannot be made, or the weights cannot be had or do not fit.
    """
    pretrained = spec.initial == initials.PRETRAINED
    start = start_of(spec, parent)
    try:
        detector = make_detector(
            spec.detector,
            backbone=spec.backbone,
            classes=classes,
            image_size=side or built_for(parent),
            seed=spec.seed,
            device=device,
            frozen_stages=spec.recipe.frozen_stages,
            norm_eval=spec.recipe.norm_eval,
            drop_path=spec.recipe.drop_path,
            output_norms=spec.recipe.output_norms,
            pretrained=pretrained,
            prepare=_preparation(spec, start),
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
    if start.whole is not None:
        with explained():
            detectors.fill(detector, start.whole)
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
    start = start_of(spec, parent)
    if start.backbone is not None:
        check_backbone(spec, start.backbone, parent=parent)
    if start.whole is not None:
        detector = make_detector(
            spec.detector,
            backbone=spec.backbone,
            classes=classes,
            image_size=built_for(parent),
            device="meta",
            output_norms=spec.recipe.output_norms,
            sizes=sizes_of(spec.recipe),
        )
        with explained():
            detectors.require_fit(detector, start.whole)


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


def _preparation(spec: DetectSpec, start: Start) -> Callable[[nn.Module], None] | None:
    if start.backbone is None:
        return None
    return partial(load_backbone, source=start.backbone, backbone=spec.backbone)
