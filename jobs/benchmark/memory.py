"""How much memory a network takes at its peak."""

from __future__ import annotations

import ctypes
import gc
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil
import torch

_SAMPLE_S = 0.001

CPU_NOTE = "memory: growth of the process's resident set, sampled each ms from building on"


def _give_back() -> None:
    """Let the C library return what is free, since what it kept would be taken without growth."""
    with suppress(AttributeError, OSError):  # another C library than glibc
        ctypes.CDLL(None).malloc_trim(0)


class PeakMemory:
    """Measures the growth of memory inside a ``with``: allocations on a GPU, residence on a CPU.

    Attributes:
        mib: The peak, MiB; valid after the block.
    """

    def __init__(self, device: torch.device) -> None:
        self.mib = 0.0
        self._device = device
        self._process = psutil.Process()
        self._before = 0
        self._peak = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        """Start from what is taken now."""
        gc.collect()
        _give_back()
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        else:
            self._before = self._peak = self._process.memory_info().rss
            self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the peak, also when memory ran out."""
        if self._device.type == "cuda":
            self._peak = torch.cuda.max_memory_allocated(self._device)
        else:
            self._done.set()
            self._thread.join()
            # a busy machine may not have let the sampler in since the last growth
            self._peak = max(self._peak, self._process.memory_info().rss)
        self.mib = (self._peak - self._before) / 2**20

    def _sample(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self._peak = max(self._peak, self._process.memory_info().rss)
