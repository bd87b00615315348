"""Time two networks against each other.

They run in blocks in turn, so that a slow spell of the machine hits both.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Milliseconds = NDArray[np.float64]
Forward = Callable[[Tensor], object]

BLOCK_MS = 50.0
"""A block is as many passes of one network as take about this long, so that switching costs
little."""

WARMUP_SHARE = 0.3
"""Share of the budget that warming up may take."""

_BLOCK_PASSES = (1, 50)
_STABLE_WITHIN = 0.03
_STABLE_BLOCKS = 3


@dataclass(frozen=True)
class Paired:
    """Times of two networks, block by block.

    Attributes:
        first: (blocks, passes) ms.
        second: (blocks, passes) ms, each block right before or after its counterpart.
        settled: Whether both medians had stopped moving before timing began.
    """

    first: Milliseconds
    second: Milliseconds
    settled: bool


class Stopwatch:
    """Times single passes of networks over rotating inputs.

    Args:
        inputs: Batches that are taken in turn, so that no pass finds the last one's input cached.
        device: Host clock on a CPU; events on a GPU, between which nothing waits for the host.
    """

    def __init__(self, inputs: Sequence[Tensor], *, device: torch.device) -> None:
        self._inputs = itertools.cycle(inputs)
        self._cuda = device.type == "cuda"

    def time(self, forward: Forward, *, passes: int) -> Milliseconds:
        """Return the time of each of `passes` passes, ms."""
        return self._on_gpu(forward, passes) if self._cuda else self._on_cpu(forward, passes)

    def _on_cpu(self, forward: Forward, passes: int) -> Milliseconds:
        times = np.empty(passes)
        for index, batch in enumerate(itertools.islice(self._inputs, passes)):
            began = time.perf_counter_ns()
            forward(batch)
            times[index] = time.perf_counter_ns() - began
        return times / 1e6

    def _on_gpu(self, forward: Forward, passes: int) -> Milliseconds:
        marks = [_mark() for _ in range(passes + 1)]
        marks[0].record()
        for mark, batch in zip(marks[1:], self._inputs, strict=False):
            forward(batch)
            mark.record()
        torch.cuda.synchronize()
        return np.array([one.elapsed_time(two) for one, two in itertools.pairwise(marks)])


def _mark() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's gap


@torch.inference_mode()
def time_paired(
    forwards: tuple[Forward, Forward],
    stopwatch: Stopwatch,
    *,
    budget_s: float,
    min_repeats: int,
) -> Paired:
    """Warm two networks up, then time them in alternating blocks until the budget is spent.

    Args:
        forwards: The networks.
        stopwatch: Times them.
        budget_s: Seconds for all of it.
        min_repeats: Passes of each network, even where they exceed the budget.
    """
    began = time.monotonic()
    settled, passes = _warm_up(forwards, stopwatch, until=began + WARMUP_SHARE * budget_s)
    blocks: tuple[list[Milliseconds], list[Milliseconds]] = ([], [])
    for turn in itertools.count():
        enough = turn * passes >= min_repeats and turn >= 2
        if enough and time.monotonic() - began >= budget_s:
            break
        # the order alternates, so that neither always runs on what the other left behind
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            blocks[which].append(stopwatch.time(forwards[which], passes=passes))
    return Paired(np.stack(blocks[0]), np.stack(blocks[1]), settled)


def _warm_up(
    forwards: tuple[Forward, Forward], stopwatch: Stopwatch, *, until: float
) -> tuple[bool, int]:
    """Run both until their medians stand still; return whether they do, and passes for a block."""
    medians: tuple[list[float], list[float]] = ([], [])
    low, high = _BLOCK_PASSES
    passes = low
    while True:
        for which, forward in enumerate(forwards):
            medians[which].append(float(np.median(stopwatch.time(forward, passes=passes))))
        slower_ms = max(medians[0][-1], medians[1][-1])
        passes = min(max(int(BLOCK_MS / slower_ms), low), high)
        settled = all(map(_stands_still, medians))
        # the first pass of all sets things up, so its time says nothing about a block's length
        if settled or (len(medians[0]) > 1 and time.monotonic() >= until):
            return settled, passes


def _stands_still(medians: Sequence[float]) -> bool:
    last = medians[-_STABLE_BLOCKS:]
    return len(last) == _STABLE_BLOCKS and max(last) - min(last) <= _STABLE_WITHIN * min(last)


def resampled_ratios(paired: Paired, *, resamples: int, seed: int) -> Iterator[float]:
    """Yield ratios of medians over blocks drawn again with replacement.

    Blocks are drawn and not passes, for neighbouring passes share the machine's mood; and pairs of
    blocks, for the two of a pair share it too.
    """
    generator = np.random.default_rng(seed)
    blocks = len(paired.first)
    for _ in range(resamples):
        drawn = generator.integers(blocks, size=blocks)
        yield float(np.median(paired.first[drawn]) / np.median(paired.second[drawn]))


def ratio_interval(paired: Paired, *, seed: int, resamples: int = 1000) -> tuple[float, float]:
    """Return the 95 % interval of the ratio of medians (first over second)."""
    ratios = list(resampled_ratios(paired, resamples=resamples, seed=seed))
    low, high = np.percentile(ratios, [2.5, 97.5])
    return float(low), float(high)
