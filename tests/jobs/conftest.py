"""Real digits for the tests of jobs, whole and cut down, and specs that train in seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobs.classify import ClassifySpec
from jobs.data import digits

TINY = "test_resnet(stem=small)/conv"
"""A network of 0.4 M parameters that timm keeps for tests."""


@pytest.fixture(scope="session")
def digit_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All digits as an image folder; not to be changed."""
    return digits.write(tmp_path_factory.mktemp("cache"))


@pytest.fixture
def few_digits(digit_folder: Path, tmp_path: Path) -> Path:
    """Twelve training and four validation images of each digit, free to be spoiled."""
    target = tmp_path / "few"
    for split, count in (("train", 12), ("val", 4)):
        for label in sorted((digit_folder / split).iterdir()):
            (target / split / label.name).mkdir(parents=True)
            for file in sorted(label.iterdir())[:count]:
                shutil.copy2(file, target / split / label.name / file.name)
    return target


@pytest.fixture
def make_spec(few_digits: Path) -> Callable[..., ClassifySpec]:
    """Make a spec of two epochs over `few_digits` at 16 px; keywords change its recipe."""

    def make(fields: dict[str, Any] | None = None, **changes: Any) -> ClassifySpec:
        recipe = {
            "base": "digits_quick",
            "epochs": 2,
            "warmup_epochs": 0.5,
            "image_size": 16,
            "batch_size": 16,
            "micro_batch": 16,
        }
        values = {
            "backbone": TINY,
            "data": str(few_digits),
            "recipe": {**recipe, **changes},
            **(fields or {}),
        }
        return ClassifySpec.model_validate(values)

    return make
