"""Detectors through the real queue on real Ray: a kill in mid-epoch, a parent, real photographs."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from convoy.records import Run
from convoy.states import Outcome, RunState
from convoy.store import Store
from tests.jobs import few_scenes
from tests.jobs.few_scenes import TINY, make_spec
from tests.platform.execution.platform_home import Platform

pytestmark = pytest.mark.ray

STEPS = 40
"""Of an epoch."""

PHOTOGRAPHS = {
    "base": "coco_1x",
    "epochs": 3,
    "step_epochs": [2],
    "batch_size": 4,
    "micro_batch": 4,
    "lr": 0.01,
    "lr_batch": 4,
    "clip_grad": 10.0,
    "warmup_steps": 10,
    "frozen_stages": 0,
    "norm_eval": False,
    "short_sides": [128],
    "test_side": 128,
    "long_side": 224,
    "pyramid_channels": 64,
    "box_channels": 128,
    "anchor_scale": 4.0,
    "proposals": 128,
    "regions": 64,
}


def scores(store: Store, run: Run) -> dict[str, Any]:
    done = store.run(run.id)
    assert done.state is RunState.SUCCEEDED, done.failure_text
    assert done.result is not None
    return dict(done.result)


def test_a_detector_whose_process_is_killed_in_mid_epoch_goes_on_from_there(
    platform: Platform, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    store = platform.store
    scenes = few_scenes.write(tmp_path / "cache", tmp_path / "scenes", train=2 * STEPS)
    # a checkpoint a step, so that there is time to look and one of mid-epoch to be found
    spec = make_spec(scenes, {"checkpoint_every_s": 1e-3}, epochs=3)
    run = platform.submit("detect", spec.model_dump(mode="json"))
    platform.dispatch()

    def in_mid_epoch() -> bool:
        return any(one.step > STEPS and one.step % STEPS for one in store.checkpoints(run.id))

    wait_until(in_mid_epoch, timeout_s=240)
    pid: Any = store.attempts(run.id)[0].pid
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: store.run(run.id).state.is_final, timeout_s=300)
    result = scores(store, run)
    first, second = store.attempts(run.id)
    assert first.outcome is Outcome.LOST
    assert second.resumed_step is not None
    assert second.resumed_step > STEPS
    assert second.resumed_step % STEPS
    assert result["facts"]["train_samples_seen"] == 3 * 2 * STEPS
    assert [point.epoch for point in store.series(run.id)["val_mask_ap_pct"]] == [1, 2, 3]
    names = {artifact.name for artifact in store.artifacts(run.id)}
    assert {"predictions.json", "samples.json", "samples/000.png"} <= names


@pytest.mark.slow
@pytest.mark.data
def test_real_scenes_are_learned_with_plain_and_with_dynamic_backbones(
    platform: Platform, wait_until: Callable[..., None], real_images: Path
) -> None:
    store = platform.store
    runs = [
        platform.submit(
            "detect",
            {
                "backbone": f"{network}/{method}",
                "data": str(real_images / "coco-tiny"),
                "recipe": PHOTOGRAPHS,
            },
        )
        for network in ("resnet50", "mobilenetv2_100")
        for method in ("conv", "kernel_warehouse")
    ]
    platform.dispatch()
    wait_until(lambda: all(store.run(run.id).state.is_final for run in runs), timeout_s=1800)
    for run in runs:
        result = scores(store, run)
        losses = [point.value for point in store.series(run.id)["train_loss"]]
        quarter = len(losses) // 4
        assert sum(losses[-quarter:]) < 0.8 * sum(losses[:quarter]), run.backbone
        assert result["facts"]["classes"] == 80
        assert len(result["rows"]) == 80
        assert {"box_ap_pct", "mask_ap_pct"} <= result["scores"].keys()
        pictures = [one for one in store.artifacts(run.id) if one.name.endswith(".png")]
        assert len(pictures) == 12


def test_a_detector_waits_for_its_backbone_and_starts_from_it(
    platform: Platform, wait_until: Callable[..., None], tmp_path: Path
) -> None:
    store = platform.store
    scenes = few_scenes.write(tmp_path / "cache", tmp_path / "scenes")
    parent = platform.submit(
        "classify",
        {"backbone": TINY, "recipe": {"base": "digits_quick", "epochs": 1, "warmup_epochs": 0}},
    )
    spec = make_spec(scenes, {"initial": f"run:{parent.id}"}, epochs=1, norm_eval=True)
    child = platform.submit("detect", spec.model_dump(mode="json"), after=[parent.id])
    platform.dispatch()
    wait_until(lambda: store.run(child.id).state.is_final, timeout_s=300)
    facts = scores(store, child)["facts"]
    theirs = scores(store, parent)["facts"]
    assert facts["initial"].startswith(f"classify#{theirs['dataset_fingerprint']}")
    began, ended = store.attempts(child.id)[0].created_at, store.attempts(parent.id)[0].ended_at
    assert ended is not None
    assert began >= ended
