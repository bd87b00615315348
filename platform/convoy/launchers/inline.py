"""Runs an attempt in this very process, one after the other: for debugging and for tests."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

import psutil

from convoy.execution.attempt import execute
from convoy.launchers import Node, Order
from jobs.job import Resources


class InlineLauncher:
    """A launcher whose `launch` returns when the attempt has ended."""

    def __init__(self, *, cpus: float | None = None) -> None:
        self._cpus = cpus or float(os.cpu_count() or 1)
        self._running = ""

    @property
    def ends_attempts(self) -> bool:
        """Return False: none outlives `launch`."""
        return False

    @property
    def most_workers(self) -> int | None:
        """Return 1: this process is the only one."""
        return 1

    def capacity(self) -> Sequence[Node]:
        """Return this machine; its GPUs are used by what runs here, not counted."""
        memory_mib = psutil.virtual_memory().total / 2**20
        return [Node(socket.gethostname(), cpus=self._cpus, memory_mib=memory_mib)]

    def launch(self, order: Order) -> None:
        """Carry out the attempt; what goes wrong in it is in the store afterwards."""
        if self._running == order.name:
            return
        self._running = order.name
        try:
            execute(order, own_process=False)
        finally:
            self._running = ""

    def alive(self, name: str) -> bool | None:
        """Return whether it is the one that runs just now.

        What another process of the same kind runs cannot be known from here.
        """
        return True if name == self._running else None

    def kill(self, name: str) -> None:
        """Do nothing: what runs here ends before anybody could ask."""

    def freed(self, others: Sequence[Resources]) -> bool:
        """Return True: nothing outlives `launch`."""
        return True

    def close(self) -> None:
        """Do nothing."""
