from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from jobs.classify import ClassifySpec
from jobs.classify.run import run
from jobs.errors import SpecError
from jobs.job import Result
from tests.jobs.context import FolderContext
from tests.jobs.together import run_together

MakeSpec = Callable[..., ClassifySpec]

WITHOUT_BATCH_NORM = "test_efficientnet_gn/conv"


def weights(folder: Path) -> Mapping[str, Tensor]:
    state: dict[str, Any] = torch.load(
        folder / "checkpoints" / "latest" / "state.pt", weights_only=True
    )
    network: Mapping[str, Tensor] = state["network"]
    return network


def test_two_workers_equal_one_that_accumulates(
    make_spec: MakeSpec, tmp_path: Path, repository: Path
) -> None:
    recipe = {"batch_size": 32, "micro_batch": 16, "mixup": 0.2, "dropout": 0.1, "ema": 0.9}
    specs = [
        make_spec({"backbone": WITHOUT_BATCH_NORM}, **recipe),
        make_spec(**recipe),
    ]
    alone: list[Result] = [
        run(spec, FolderContext(tmp_path / f"alone{index}")) for index, spec in enumerate(specs)
    ]
    run_together(tmp_path, specs, kind="classify", repository=repository)
    for index in range(2):
        ours = weights(tmp_path / f"alone{index}")
        theirs = weights(tmp_path / f"spec{index}" / "rank0")
        for name, tensor in ours.items():
            # each worker keeps statistics of the micro-batches that it saw; worker 0's count
            if "running" not in name and "num_batches" not in name:
                torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4, msg=name)
    scores = torch.load(tmp_path / "spec0" / "rank0" / "scores.pt", weights_only=True)
    for name in ("top1_pct", "val_loss", "train_loss"):
        assert scores[name] == pytest.approx(alone[0].scores[name], rel=1e-3)


def test_workers_that_cannot_share_the_batch_are_refused(
    make_spec: MakeSpec, tmp_path: Path
) -> None:
    with pytest.raises(SpecError, match=r"3 workers cannot share batch_size 16 .*; 1 workers can"):
        run(make_spec(), FolderContext(tmp_path, world_size=3))
