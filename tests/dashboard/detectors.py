"""Fills a store with detectors that were trained and timed, figures alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from convoy.records import Point, Run
from convoy.states import Outcome
from convoy.store import Store
from tests.dashboard import filling
from tests.dashboard.filling import DEVICE, EPOCHS, STEPS

PROTOCOL = "cpu fp32 nchw eager b1 800x1280px 1 thread mask_rcnn"
RECIPE = "kw_detection_1x"
MASKS: Mapping[str, tuple[float, float, int, int, float, float]] = {
    "resnet50/conv": (36.2, 39.5, 44_396_193, 260_141_170_688, 1810.0, 1.0),
    "resnet50/kernel_warehouse": (38.1, 41.6, 46_891_471, 262_176_000_000, 2105.0, 1.16),
    "resnet50/kernel_warehouse(budget=4)": (38.3, 42.5, 120_854_305, 268_300_000_000, 2490.0, 1.38),
    "mobilenetv2_100/conv": (31.5, 33.6, 23_774_225, 184_900_000_000, 1190.0, 1.0),
    "mobilenetv2_100/kernel_warehouse": (33.6, 36.5, 24_202_111, 185_300_000_000, 1330.0, 1.12),
}
"""Backbone to mask AP (%), box AP (%), parameters, multiply-adds, p50 (ms), ratio to plain."""
BOXES = {"resnet50/conv": 37.3, "resnet50/odconv(kernels=4)": 39.2}
"""Backbone to box AP (%) in Faster R-CNN."""
TWICE = "resnet50/conv"
"""What was trained with two seeds."""


def fill(store: Store) -> dict[str, int]:
    """Add detectors to a store.

    Returns:
        Number of one run of each sort: ``masks``, ``boxes``.
    """
    term = filling.lead(store)
    found: dict[str, int] = {}
    for backbone in MASKS:
        found["masks"] = _detect(store, term, backbone=backbone)
        _benchmark(store, term, backbone=backbone)
    _detect(store, term, backbone=TWICE, seed=1)
    for backbone in BOXES:
        found["boxes"] = _detect(store, term, backbone=backbone, detector="faster_rcnn")
    return found


def _detect(
    store: Store, term: int, *, backbone: str, seed: int = 0, detector: str = "mask_rcnn"
) -> int:
    recipe = RECIPE if detector == "mask_rcnn" else "od_detection_1x"
    run = filling.submit(store, backbone=backbone, seed=seed, recipe=recipe, kind="detect")
    attempt = filling.start(store, run, term)
    scores = _scores(backbone, detector=detector, gain=0.2 * seed)
    store.progress(
        run.id,
        attempt.number,
        status="training",
        step=STEPS,
        total_steps=STEPS,
        epoch=EPOCHS,
        eta_s=0.0,
        points=_points(scores),
    )
    result = {"scores": scores, "facts": _facts(run, detector), "rows": []}
    store.end(run.id, attempt.number, outcome=Outcome.SUCCEEDED, result=result)
    return run.id


def _scores(backbone: str, *, detector: str, gain: float) -> dict[str, float]:
    mask, box = MASKS[backbone][:2] if detector == "mask_rcnn" else (None, BOXES[backbone])
    found: dict[str, float] = {}
    for what, ap in (("mask", mask), ("box", box)):
        if ap is not None:
            shares = {"": 1.0, "50": 1.6, "75": 1.05, "_small": 0.5, "_medium": 1.1, "_large": 1.3}
            found |= {f"{what}_ap{part}_pct": (ap + gain) * share for part, share in shares.items()}
    main = next(iter(found))
    return {**found, f"best_{main}": found[main] + 0.1, "train_loss": 0.81}


def _points(scores: Mapping[str, float]) -> dict[str, list[Point]]:
    now = datetime.now(UTC)
    each = STEPS // EPOCHS

    def falling(start: float) -> list[Point]:
        return [
            Point(step, None, start * (0.3 + math.exp(-step / 60)) + 0.03 * math.sin(step), now)
            for step in range(1, STEPS + 1)
        ]

    parts = {"loss_rpn_cls": 0.5, "loss_rpn_bbox": 0.2, "loss_cls": 1.2, "loss_bbox": 0.6}
    found = {name: falling(start) for name, start in {"train_loss": 3.2, **parts}.items()}
    for name in ("mask_ap_pct", "box_ap_pct"):
        if name in scores:
            found[f"val_{name}"] = [
                Point(each * epoch, epoch, scores[name] * (1 - math.exp(-epoch)), now)
                for epoch in range(1, EPOCHS + 1)
            ]
    return found


def _facts(run: Run, detector: str) -> dict[str, Any]:
    _, _, params, madds, _, _ = MASKS.get(run.backbone, MASKS[TWICE])
    return {
        "task": "detect",
        "detector": detector,
        "dataset": "coco",
        "dataset_fingerprint": "c0c0",
        "split": "val",
        "recipe": run.recipe,
        "recipe_hash": f"hash of {run.recipe}",
        "initial": "pretrained",
        "train_samples_seen": 1_407_192,
        "image_size": "800x1333",
        "ema": False,
        "precision": "fp32",
        "params": params,
        "madds": madds,
        "madds_assembly": 0,
        "classes": 80,
        "train_images": 117_266,
        "val_images": 5000,
        "skipped_images": 0,
        "device": DEVICE,
        "torch": "2.15.0",
    }


def _benchmark(store: Store, term: int, *, backbone: str) -> None:
    _, _, params, madds, p50, ratio = MASKS[backbone]
    run = filling.submit(store, backbone=backbone, seed=0, recipe="", kind="benchmark")
    attempt = filling.start(store, run, term)
    where = {"detector": "mask_rcnn", "image_size": "800x1280", "classes": 80}
    row = {
        "device": DEVICE,
        "protocol": PROTOCOL,
        "protocol_key": where,
        "batch": 1,
        "p50_ms": p50,
        "ratio": ratio,
        "ratio_low": ratio * 0.97,
        "ratio_high": ratio * 1.03,
        "repeats": 30,
        "settled": True,
        "notes": [],
    }
    facts = {"task": "benchmark", **where, "params": params, "madds": madds}
    result = {"scores": {"p50_ms": p50, "ratio": ratio}, "facts": facts, "rows": [row]}
    store.end(run.id, attempt.number, outcome=Outcome.SUCCEEDED, result=result)
