"""A floor plan of the cluster: what is taken on each node, and whether a run finds room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convoy.launchers import Node
from convoy.phrases import count
from jobs.job import Resources

SLACK = 1e-6
"""Fractions of a core are sums of floats."""


@dataclass
class _Room:
    node: Node
    cpus: float
    gpus: float
    tenants: int = 0
    closed: bool = False

    def workers(self, wanted: Resources, *, alone: bool) -> int:
        """Return how many of the workers find room here."""
        if self.closed or (alone and self.tenants):
            return 0
        by_cpus = (self.cpus + SLACK) // wanted.cpus if wanted.cpus else wanted.workers
        by_gpus = (self.gpus + SLACK) // wanted.gpus if wanted.gpus else wanted.workers
        return max(0, int(min(by_cpus, by_gpus, wanted.workers)))

    def take(self, wanted: Resources, *, alone: bool) -> None:
        self.cpus -= wanted.cpus
        self.gpus -= wanted.gpus
        self.tenants += 1
        self.closed = self.closed or alone


class Floor:
    """Rooms, one a node. A run that must be alone takes a room; with GPUs, these suffice."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self._rooms = [_Room(node, node.cpus, node.gpus) for node in nodes]

    def place(self, wanted: Resources, *, alone: bool = False) -> list[str]:
        """Return the node of every worker, or nothing when they do not all fit.

        One worker goes where the least would be left over, so that room for big runs stays; several
        go where there is the most, so that they spread over few nodes.
        """
        alone = alone and not wanted.gpus
        rooms = sorted(self._rooms, key=lambda room: (room.gpus, room.cpus, room.node.name))
        if wanted.workers > 1:
            rooms.reverse()
        nodes: list[str] = []
        for room in rooms:
            missing = wanted.workers - len(nodes)
            nodes += [room.node.name] * min(missing, room.workers(wanted, alone=alone))
        return nodes if len(nodes) == wanted.workers else []

    def take(self, nodes: Sequence[str], wanted: Resources, *, alone: bool = False) -> None:
        """Write down that a worker of `wanted` is on each of `nodes`."""
        for room in self._rooms:
            for _ in range(list(nodes).count(room.node.name)):
                room.take(wanted, alone=alone and not wanted.gpus)

    def occupy(self, held: Resources, *, node: str, alone: bool = False) -> None:
        """Write down what runs already; where that is not known, where it would have been placed.

        What is on a node that is gone takes nothing.
        """
        if node and held.workers == 1:
            self.take([node], held, alone=alone)
            return
        self.take(self.place(held) or self._crowded(held), held, alone=alone)

    def keep(self, wanted: Resources, *, alone: bool = False) -> None:
        """Set aside what a run will need: free or not yet free, nobody else gets it."""
        nodes = Floor([room.node for room in self._rooms]).place(wanted, alone=alone)
        self.take(nodes, wanted, alone=alone)

    def free_words(self) -> str:
        """Say what is free: ``1 of 2 cores free``."""
        cpus = max(0.0, sum(0.0 if room.closed else room.cpus for room in self._rooms))
        gpus = max(0.0, sum(0.0 if room.closed else room.gpus for room in self._rooms))
        all_cpus = sum(room.node.cpus for room in self._rooms)
        all_gpus = sum(room.node.gpus for room in self._rooms)
        text = f"{cpus:g} of {count(all_cpus, 'core')} free"
        return f"{text}, {gpus:g} of {count(all_gpus, 'GPU')}" if all_gpus else text

    def _crowded(self, held: Resources) -> list[str]:
        """Return the roomiest node for each worker, when what runs exceeds what there is."""
        if not self._rooms:
            return []
        roomiest = max(self._rooms, key=lambda room: (room.gpus, room.cpus))
        return [roomiest.node.name] * held.workers


def describe_node(node: Node) -> str:
    """Return ``big1 with 8 cores and 2 GPUs``."""
    gpus = f" and {count(node.gpus, 'GPU')}" if node.gpus else ""
    return f"{node.name} with {count(node.cpus, 'core')}{gpus}"


def describe_resources(wanted: Resources) -> str:
    """Return ``2 workers of 4 cores and 1 GPU``."""
    each = count(wanted.cpus, "core")
    each += f" and {count(wanted.gpus, 'GPU')}" if wanted.gpus else ""
    return each if wanted.workers == 1 else f"{wanted.workers} workers of {each}"
