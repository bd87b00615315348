"""Agreement between the workers of one run, over a process group of its own on the host.

The training's own group may live on GPUs, where every question would make the device wait.
"""

from __future__ import annotations

import time
from typing import Any

NOTHING = "\0"
"""Stands for None on the wire."""


class Ranks:
    """What rank 0 knows, told to all. Every method is called by all ranks, equally often.

    Args:
        rank: Which worker this is.
        world_size: How many there are; with one nothing is sent.
        every_s: How often an answer that may change is asked for again.
    """

    def __init__(self, *, rank: int, world_size: int, every_s: float = 1.0) -> None:
        self.rank = rank
        self.world_size = world_size
        self._every_s = every_s
        self._group: Any = None
        self._skip = 0
        self._calls = 0
        self._since_s = time.monotonic()
        self._answer: str | None = None

    def told(self, answer: str | None) -> str | None:
        """Return rank 0's `answer` on every rank."""
        return self._broadcast(answer)[0] if self.world_size > 1 else answer

    def told_at_times(self, answer: str | None) -> str | None:
        """Return rank 0's answer of at most about `every_s` ago.

        Rank 0 says along with the answer how many calls may pass until the next: counting calls is
        what all ranks do alike, their clocks differ.
        """
        if self.world_size == 1:
            return answer
        self._calls += 1
        if self._skip > 0:
            self._skip -= 1
            return self._answer
        per_call_s = (time.monotonic() - self._since_s) / self._calls
        skip = min(1000, int(self._every_s / max(per_call_s, 1e-4)))
        self._answer, self._skip = self._broadcast(answer, skip)
        self._calls, self._since_s = 0, time.monotonic()
        return self._answer

    def _broadcast(self, answer: str | None, number: int = 0) -> tuple[str | None, int]:
        import torch.distributed as dist  # heavy, and needed by runs of several workers only

        if self._group is None:
            self._group = dist.new_group(backend="gloo")
        box: list[object] = [NOTHING if answer is None else answer, number]
        dist.broadcast_object_list(box, src=0, group=self._group)
        text, told = str(box[0]), int(str(box[1]))
        return (None if text == NOTHING else text), told
