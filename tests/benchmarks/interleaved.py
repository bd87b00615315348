"""CPU time of calls that take turns in one process, as ratios with an interval."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

_RESAMPLINGS = 1000


def inference(network: nn.Module, x: Tensor) -> Callable[[], object]:
    """Return a call of the network that records no gradients."""
    return partial(_infer, network, x)


@torch.no_grad()
def _infer(network: nn.Module, x: Tensor) -> object:
    return network(x)


def cpu_times(runs: Mapping[str, Callable[[], object]], *, turns: int) -> dict[str, list[float]]:
    """Return the CPU seconds of every call in every turn, after one turn to warm up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(turns + 1):
        for name, run in runs.items():
            before = time.process_time()
            run()
            times[name].append(time.process_time() - before)
    return {name: seconds[1:] for name, seconds in times.items()}


def ratio(times: Sequence[float], base: Sequence[float]) -> str:
    """Say the ratio of the least times, with the middle 95 % of 1000 resamplings of the turns."""
    draw = random.Random(0)
    turns = range(len(times))
    ratios = []
    for _ in range(_RESAMPLINGS):
        some = draw.choices(turns, k=len(times))
        ratios.append(min(times[i] for i in some) / min(base[i] for i in some))
    ratios.sort()
    return f"{min(times) / min(base):5.2f} ({ratios[25]:5.2f} to {ratios[974]:5.2f})"
