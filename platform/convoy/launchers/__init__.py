"""Launchers start attempts and say what is left of them.

`inline` runs them in this process, `cluster` on Ray. Both fulfil `Launcher`, and one contract test
runs over both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from jobs.job import Resources


@dataclass(frozen=True)
class Node:
    """What one machine offers in all, whether free or not.

    Attributes:
        name: Unique in the cluster; attempts give it as their node.
        cpus: Processor cores.
        gpus: GPUs.
        memory_mib: Host memory.
        labels: What the cluster says about it.
    """

    name: str
    cpus: float
    gpus: float = 0.0
    memory_mib: float = 0.0
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Order:
    """All that an attempt needs to start; the rest it reads from the store.

    The addresses may hold passwords: they are left out of the printed form.

    Attributes:
        run_id: The run.
        number: Number of the attempt.
        resources: What it takes.
        store_url: Where the store is.
        storage_url: Where checkpoints and artifacts go.
        cache: Folder of the machine for embedded data and verdicts.
        lease_s: Seconds that a renewal of the lease holds.
        keep_checkpoints: How many checkpoints of the run stay.
        node: Node that the scheduler chose; empty when the workers may spread.
    """

    run_id: int
    number: int
    resources: Resources
    store_url: str = field(repr=False)
    storage_url: str = field(repr=False)
    cache: str
    lease_s: float
    keep_checkpoints: int
    node: str = ""

    @property
    def name(self) -> str:
        """Name of the attempt on the cluster: ``run-<id>-<number>``."""
        return attempt_name(self.run_id, self.number)


def attempt_name(run_id: int, number: int) -> str:
    """Return the name under which an attempt is started, found and killed."""
    return f"run-{run_id}-{number}"


class Launcher(Protocol):
    """Starts attempts by name. It neither reads nor writes the store."""

    @property
    def ends_attempts(self) -> bool:
        """Whether attempts that still run end with `close`."""

    @property
    def most_workers(self) -> int | None:
        """How many workers a run may have here; None: any number."""

    def capacity(self) -> Sequence[Node]:
        """Return the nodes that are up.

        Raises:
            LaunchError: The cluster does not answer.
        """

    def launch(self, order: Order) -> None:
        """Start an attempt; starting a name that is alive changes nothing.

        Raises:
            LaunchError: It could not be started.
        """

    def alive(self, name: str) -> bool | None:
        """Return whether the attempt's process lives; None when that cannot be known from here."""

    def kill(self, name: str) -> None:
        """End an attempt by force; a name that is not alive changes nothing."""

    def freed(self, others: Sequence[Resources]) -> bool:
        """Return whether nothing is reserved on the cluster beyond what `others` take."""

    def close(self) -> None:
        """Let go of the cluster; one that was started here ends."""
