from __future__ import annotations

from pathlib import Path

import pytest

from jobs.classify import ClassifySpec
from jobs.classify.run import check, run
from tests.jobs.context import FolderContext


@pytest.mark.data
def test_a_short_run_on_photographs_beats_chance_clearly(real_images: Path, tmp_path: Path) -> None:
    spec = ClassifySpec.model_validate(
        {
            "backbone": "resnet20_cifar/conv",
            "data": str(real_images / "cifar10-imagefolder"),
            "recipe": {"base": "cifar_quick", "epochs": 3, "warmup_epochs": 0.5, "image_size": 16},
        }
    )
    context = FolderContext(tmp_path)
    check(spec, context)
    result = run(spec, context)
    assert result.facts["classes"] == 10
    assert result.facts["skipped_images"] == 0
    assert result.scores["top1_pct"] > 20  # chance is 10; its spread over 500 images is 1.3
