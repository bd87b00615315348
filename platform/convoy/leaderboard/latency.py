"""Latencies that benchmark runs measured, each with the protocol under which it may be compared."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Protocol

from convoy.records import Json, Run


@dataclass(frozen=True)
class Latency:
    """One latency of one backbone.

    Attributes:
        device: Name of the processor or GPU.
        protocol: Batch, precision, layout, engine, resolution in a few words.
        batch: Images at once.
        p50_ms: Median, milliseconds.
        p90_ms, p99_ms: Percentiles, milliseconds.
        throughput_ips: Images a second.
        peak_memory_mib: Highest memory.
        plain_p50_ms: Median of the plain network in the same process.
        ratio: Of the two medians; above 1 is slower than plain.
        ratio_low, ratio_high: Its 95 % interval.
        settled: Whether the measurement came to rest.
        run: The run that measured it.
        part: What of a detector was measured: ``backbone``, or all of it.
    """

    device: str
    protocol: str
    p50_ms: float
    run: int
    batch: int | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    throughput_ips: float | None = None
    peak_memory_mib: float | None = None
    plain_p50_ms: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    settled: bool = True
    part: str = ""

    @property
    def is_of_backbone(self) -> bool:
        """Whether the backbone of a detector was measured alone."""
        return self.part == "backbone"


class Timed(Protocol):
    """Whatever has latencies: a row of the leaderboard."""

    @property
    def latency(self) -> Sequence[Latency]:
        """One a protocol and device."""


Place = tuple[str, Json, int | None, Json, Json]
"""What a latency must share with a score to stand in its row: see `place_of`."""

_NAMES = {part.name for part in fields(Latency)} - {"run"}
_NO_DETECTOR = (None, "", "none")


def of_run(run: Run) -> list[Latency]:
    """Return what one benchmark run measured."""
    return [latency for _, latency in _measured(run)]


def _measured(run: Run) -> list[tuple[Mapping[str, Json], Latency]]:
    rows: Iterable[Mapping[str, Json]] = (run.result or {}).get("rows") or ()
    return [
        (row, Latency(**{name: row[name] for name in _NAMES & row.keys()}, run=run.id))
        for row in rows
        if row.get("p50_ms") is not None
    ]


def index(runs: Iterable[Run]) -> dict[Place, tuple[Latency, ...]]:
    """Gather latencies by the place where they belong.

    Of several runs with one device and protocol the latest counts.
    """
    found: dict[Place, dict[tuple[str, str], Latency]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: run.id):
        facts = (run.result or {}).get("facts") or {}
        for row, latency in _measured(run):
            measured = {**facts, **(row.get("protocol_key") or {})}
            place = place_of(run.backbone, measured)
            found[place][latency.device, latency.protocol] = latency
    return {place: tuple(by_protocol.values()) for place, by_protocol in found.items()}


def place_of(backbone: str, facts: Mapping[str, Json]) -> Place:
    """Return what a score and a latency of it have in common.

    Args:
        backbone: Canonical text.
        facts: Of a result, or of a protocol.

    Returns:
        Backbone, detector (None: the backbone alone), shorter side of the images in pixels,
        classes, and the parameters of a detector, whose parts may have other sizes around the same
        backbone. A detector is trained on images of many shapes with one shorter side, and timed on
        one of them, which its protocol names.
    """
    detector = facts.get("detector")
    is_alone = detector in _NO_DETECTOR
    return (
        backbone,
        None if is_alone else detector,
        _shorter_side(facts.get("image_size")),
        facts.get("classes"),
        None if is_alone else facts.get("params"),
    )


def _shorter_side(size: Json) -> int | None:
    """Return 224 of 224, and 800 of ``800x1333``."""
    sides = [int(side) for side in str(size or "").split("x") if side.isdecimal()]
    return min(sides, default=None)


def shared_protocols(rows: Iterable[Timed]) -> list[tuple[str, str]]:
    """Return (device, protocol) pairs, the one that most rows have first."""
    counts = Counter((latency.device, latency.protocol) for row in rows for latency in row.latency)
    return [pair for pair, _ in counts.most_common()]
