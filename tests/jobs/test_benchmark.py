from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from backbones.fusion import fuse
from jobs.benchmark import BenchmarkSpec, subject
from jobs.benchmark import run as benchmark
from jobs.benchmark.memory import PeakMemory
from jobs.benchmark.timing import (
    Forward,
    Milliseconds,
    Paired,
    Stopwatch,
    ratio_interval,
    time_paired,
)
from jobs.errors import SpecError
from jobs.job import kinds, read_spec
from tests.jobs.conftest import TINY
from tests.jobs.context import FolderContext


def spec_of(**fields: Any) -> BenchmarkSpec:
    values = {"backbone": "resnet18/se", "image_size": 32, "classes": 10, "budget_s": 0.5}
    return BenchmarkSpec.model_validate({**values, "min_repeats": 10, **fields})


class Scripted(Stopwatch):
    """Says that each pass takes what its network says, within one percent."""

    def __init__(self) -> None:
        self._generator = np.random.default_rng(0)

    def time(self, forward: Forward, *, passes: int) -> Milliseconds:
        ms = float(str(forward(torch.zeros(1))))
        time.sleep(passes * 1e-4)
        return ms * (1 + 0.01 * self._generator.uniform(-1, 1, size=passes))


def timed(first_ms: float, second_ms: float, *, budget_s: float = 0.1) -> Paired:
    return time_paired(
        (lambda _: first_ms, lambda _: second_ms), Scripted(), budget_s=budget_s, min_repeats=10
    )


def test_a_ratio_of_known_times_is_found_with_its_interval() -> None:
    paired = timed(3.0, 1.0)
    low, high = ratio_interval(paired, seed=0)
    assert 2.95 < low <= np.median(paired.first) / np.median(paired.second) <= high < 3.05
    assert paired.settled


def test_at_least_the_asked_passes_are_timed_even_beyond_the_budget() -> None:
    paired = timed(1.0, 1.0, budget_s=1e-6)
    assert paired.first.size >= 10
    assert not paired.settled


def test_a_pass_is_timed_in_milliseconds() -> None:
    stopwatch = Stopwatch([torch.zeros(1)], device=torch.device("cpu"))
    times_ms = stopwatch.time(lambda _: time.sleep(0.005), passes=3)
    assert times_ms.min() >= 5
    assert times_ms.min() < 1000


def test_the_interval_of_a_noisy_ratio_is_wider() -> None:
    generator = np.random.default_rng(0)
    quiet, noisy = (
        Paired(
            10 + spread * generator.normal(size=(12, 1)) + 0.01 * generator.normal(size=(12, 20)),
            10 + spread * generator.normal(size=(12, 1)) + 0.01 * generator.normal(size=(12, 20)),
            settled=True,
        )
        for spread in (0.01, 1.0)
    )
    widths = [np.diff(ratio_interval(paired, seed=0))[0] for paired in (quiet, noisy)]
    assert widths[1] > 10 * widths[0]


def test_inputs_are_taken_in_turn() -> None:
    seen: list[float] = []
    stopwatch = Stopwatch([torch.tensor(float(i)) for i in range(3)], device=torch.device("cpu"))
    stopwatch.time(lambda batch: seen.append(float(batch)), passes=2)
    stopwatch.time(lambda batch: seen.append(float(batch)), passes=3)
    assert seen == [0, 1, 2, 0, 1]


def test_memory_that_grows_is_seen() -> None:
    with PeakMemory(torch.device("cpu")) as peak:
        kept = torch.ones(16 * 2**20)  # 64 MiB, touched
    assert 60 < peak.mib < 100
    assert kept.numel()


def test_a_benchmark_gives_a_row_beside_the_plain_network(tmp_path: Path) -> None:
    result = benchmark.run(spec_of(), FolderContext(tmp_path))
    (row,) = result.rows
    assert row["protocol"] == "cpu fp32 nchw eager b1 32px 1 thread"
    assert row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]
    assert row["throughput_ips"] == pytest.approx(1000 / row["mean_ms"])
    assert row["ratio"] == pytest.approx(row["p50_ms"] / row["plain_p50_ms"])
    assert row["ratio_low"] <= row["ratio"] <= row["ratio_high"]
    assert row["repeats"] >= 10
    assert row["peak_memory_mib"] > 0
    assert result.scores == {"p50_ms": row["p50_ms"], "ratio": row["ratio"]}
    assert result.facts["task"] == "benchmark"
    assert result.facts["params"] > 0


def test_layout_precision_and_batch_are_part_of_the_protocol(tmp_path: Path) -> None:
    spec = spec_of(backbone=TINY, memory_format="nhwc", precision="bf16", batch=3)
    (row,) = benchmark.run(spec, FolderContext(tmp_path)).rows
    assert row["protocol"] == "cpu bf16 nhwc eager b3 32px 1 thread"
    assert row["protocol_key"]["batch"] == 3


@pytest.mark.parametrize("backbone", ["resnet18/spconv", "resnet18/conv", "resnet18/odconv"])
def test_the_fused_engine_runs_both_networks_without_norms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: str
) -> None:
    seen: list[nn.Module] = []

    def noted(network: nn.Module, **how: Any) -> nn.Module:
        seen.append(fuse(network, **how))
        return seen[-1]

    monkeypatch.setattr(subject, "fuse", noted)
    result = benchmark.run(spec_of(engine="fused", backbone=backbone), FolderContext(tmp_path))
    (row,) = result.rows
    assert row["protocol"] == "cpu fp32 nchw fused b1 32px 1 thread"
    assert isinstance(row["ratio"], float)
    assert len(seen) == 2
    for network in seen:
        assert not any(type(module) is nn.BatchNorm2d for module in network.modules())


def test_running_out_of_memory_is_a_row_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject, "normal_images", lambda *_, **__: [torch.empty(2**60)])
    result = benchmark.run(spec_of(backbone=TINY), FolderContext(tmp_path))
    (row,) = result.rows
    assert row["p50_ms"] is None
    assert "out of memory: this backbone does not fit at batch 1" in row["notes"]
    assert result.scores == {}


def test_the_backbone_is_checked_and_the_machine_is_its_own() -> None:
    assert kinds()["benchmark"].exclusive
    with pytest.raises(SpecError, match="unknown network 'resnet81'"):
        read_spec("benchmark", {"backbone": "resnet81"})


def test_arithmetic_that_the_device_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="tf32 needs a GPU"):
        benchmark.run(spec_of(precision="tf32"), FolderContext(tmp_path))
