from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from detection.errors import ConfigError, DetectionError
from detection.installed import config_file
from detection.schedules import schedule


@pytest.mark.parametrize(
    ("name", "epochs", "steps"), [("1x", 12, (8, 11)), ("2x", 24, (16, 22)), ("3x", 36, (27, 33))]
)
def test_the_usual_schedules_are_those_that_papers_mean(
    name: str, epochs: int, steps: tuple[int, ...]
) -> None:
    found = schedule(name)
    assert (found.epochs, found.step_epochs, found.gamma) == (epochs, steps, 0.1)
    assert (found.warmup_steps, found.warmup_ratio) == (500, 0.001)
    assert (found.lr, found.momentum, found.weight_decay) == (0.02, 0.9, 1e-4)
    assert found.lr_batch == 16
    assert found.betas is None


@pytest.mark.parametrize(("name", "steps"), [("1x", (8, 11)), ("3x", (27, 33))])
def test_adamw_has_its_own_rate_decay_and_warmup(name: str, steps: tuple[int, ...]) -> None:
    found = schedule(name, optimiser="adamw")
    assert found.step_epochs == steps
    assert (found.lr, found.betas, found.weight_decay) == (1e-4, (0.9, 0.999), 0.05)
    assert found.warmup_steps == 1000
    assert found.lr_batch == 16


def test_an_unknown_schedule_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"'2x' with 'adamw'.*1x with sgd"):
        schedule("2x", optimiser="adamw")


def test_a_file_that_mmdet_lacks_is_named() -> None:
    with pytest.raises(DetectionError, match=r"no config _base_/none\.py"):
        config_file("_base_/none.py")


def test_reading_a_schedule_loads_nothing_heavy(repository: Path) -> None:
    code = """
import sys
from detection.schedules import schedule
from detection.settings import DETECTORS, Resizing, Sizes
assert schedule("1x").epochs == 12
heavy = {"torch", "numpy", "mmengine", "mmdet", "mmcv", "cv2"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], cwd=repository, check=True, timeout=60)
