"""Which device a worker of several has; without a GPU, torch and Ray are made to say so."""

from __future__ import annotations

import pytest
import ray.train.torch
import torch

from convoy.launchers.gang import own_device
from jobs.job import Resources


def test_a_worker_uses_its_own_gpu_among_those_of_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", used.append)
    monkeypatch.setattr(ray.train.torch, "get_device", lambda: torch.device("cuda:3"))
    assert own_device(Resources(workers=4, gpus=1.0)) == "cuda:3"
    assert used == [torch.device("cuda:3")]


def test_a_worker_without_a_gpu_stays_on_the_processor() -> None:
    assert own_device(Resources(workers=4)) == "cpu"
