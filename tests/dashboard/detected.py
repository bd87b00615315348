"""Fills a store with detection runs, whose pictures and scores are of real calculations."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from convoy.settings import Settings
from convoy.states import Outcome
from convoy.storage import RunPaths, Storage
from convoy.store import Store
from detection.evaluation import Scores, evaluate
from detection.found import Found, results
from detection.samples import write_samples
from tests.dashboard import filling
from tests.detection.coco_truth import CATEGORY_IDS, HEIGHT, WIDTH, perturbed, write_truth


@dataclass(frozen=True)
class Split:
    """Images with their annotations.

    Attributes:
        annotations: File.
        images: Folder.
        category_ids: The file's number of each label.
    """

    annotations: Path
    images: Path
    category_ids: Sequence[int]


def made_split(folder: Path) -> Split:
    """Write a split of noise with blobs."""
    file = folder / "truth.json"
    draw = np.random.default_rng(0)
    for image in write_truth(file, seed=5)["images"]:
        noise = draw.normal(110, 30, (HEIGHT, WIDTH)).clip(0, 255).astype(np.uint8)
        Image.fromarray(noise).save(folder / image["file_name"])
    return Split(file, folder, CATEGORY_IDS)


def detect(
    store: Store,
    settings: Settings,
    term: int,
    *,
    split: Split,
    backbone: str = "resnet50/conv",
    seed: int = 0,
    masks: bool = True,
    rows: bool = True,
    fingerprint: str = "c0c0",
) -> int:
    """End a run well that found the objects of a split more or less; return its number."""
    run = filling.submit(store, backbone=backbone, seed=seed, kind="detect", recipe="coco_1x")
    attempt = filling.start(store, run, term)
    truth = json.loads(split.annotations.read_text())
    found = perturbed(truth, seed=seed, category_ids=split.category_ids)
    if not masks:
        found = [replace(one, masks=None) for one in found]
    storage = Storage(settings.storage_url)
    with tempfile.TemporaryDirectory() as folder:
        for name in _written(Path(folder), split, found):
            target = RunPaths(run.id).artifact(attempt.number, name)
            size_mib = storage.put(Path(folder) / name, name=target)
            store.add_artifact(run.id, attempt.number, name=name, path=target, size_mib=size_mib)
    entries = results(found, category_ids=split.category_ids)
    scores = evaluate(split.annotations, entries, masks=masks)
    result = _result(scores, masks=masks, fingerprint=fingerprint)
    if not rows:
        result["rows"] = []
    store.end(run.id, attempt.number, outcome=Outcome.SUCCEEDED, result=result)
    return run.id


def _written(folder: Path, split: Split, found: Sequence[Found]) -> list[str]:
    return write_samples(
        folder,
        annotation_file=split.annotations,
        images=split.images,
        found=found,
        category_ids=split.category_ids,
        count=6,
    )


def _result(scores: Scores, *, masks: bool, fingerprint: str) -> dict[str, Any]:
    facts = {
        "task": "detect",
        "detector": "mask_rcnn" if masks else "faster_rcnn",
        "dataset": "made",
        "dataset_fingerprint": fingerprint,
        "split": "val",
        "recipe": "coco_1x",
        "recipe_hash": "hash of coco_1x",
        "initial": "scratch",
        "image_size": "800x1333",
        "params": 44_401_393,
        "madds": 259_812_300_000,
    }
    rows = [asdict(row) for row in scores.categories]
    return {"scores": scores.named(), "facts": facts, "rows": rows}
