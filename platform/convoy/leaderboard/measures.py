"""What each task measures: the one table from which ranks, columns, exports and axes follow.

A further task is one more entry of `TASKS`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from backbones.method import Published
from convoy.errors import ConvoyError
from convoy.records import Json

AP_BAND = 0.3
"""Percentage points of average precision by which two single runs on COCO may differ and say
nothing: mmdetection's maintainers put its noise at 0.2 to 0.3 (mmdetection issues 3496, 3624). Of
its parts nobody gives a figure; they scatter at least as much."""


@dataclass(frozen=True)
class Measure:
    """A figure by which backbones may be compared.

    Attributes:
        name: As a user types it.
        score: Its key among a result's scores, and the field of a published row that has it.
        title: As tables call it, without unit.
        unit: Of its values.
        digits: Decimals that are worth showing.
        more_is_better: Whether the highest value ranks first.
        is_share: Whether it is the share of validation images that were answered right, so that
            their number alone gives an interval.
        band: Difference of two single scores that says nothing, in its unit; 0: not known.
        detectors: Only results with one of these have it; empty: all of its task.
        shown: ``everywhere``; ``papers``: in Markdown, LaTeX and files; or only in ``files``.
    """

    name: str
    score: str
    title: str
    unit: str = "%"
    digits: int = 2
    more_is_better: bool = True
    is_share: bool = False
    band: float = 0.0
    detectors: tuple[str, ...] = ()
    shown: Literal["everywhere", "papers", "files"] = "files"

    @property
    def heading(self) -> str:
        """Title and unit: ``Top-1 (%)``."""
        return f"{self.title} ({self.unit})"

    @property
    def word(self) -> str:
        """The title within a sentence: ``top-1``."""
        return self.title[0].lower() + self.title[1:]

    def text(self, value: float | None) -> str:
        """Write a value with the decimals that are worth showing; empty for None."""
        return "" if value is None else f"{value:.{self.digits}f}"

    def printed(self, row: Published) -> float | None:
        """Return what a published row says of it."""
        value: float | None = getattr(row, self.score, None)
        return value


@dataclass(frozen=True)
class Task:
    """What runs of one kind are scored for.

    Attributes:
        name: Of the task, which results and commands use.
        measures: In the order of columns.
        single_seed: What a reader must know of scores of one seed that have a band and no interval.
    """

    name: str
    measures: tuple[Measure, ...] = ()
    single_seed: str = ""

    def applying(self, detector: Json = None) -> tuple[Measure, ...]:
        """Return the measures of results with a detector, in order; the first of them ranks."""
        return tuple(
            one
            for one in self.measures
            if not (one.detectors and detector) or detector in one.detectors
        )


_PARTS = ("50", "75", "_small", "_medium", "_large")
"""Of average precision: at two overlaps, and for objects of three sizes."""


def _precision(what: str, part: str = "") -> Measure:
    """Return average precision of masks or boxes, in all or a part of it."""
    name = f"{what}_ap{part}"
    return Measure(
        name,
        f"{name}_pct",
        f"{what.capitalize()} AP{part.replace('_', ' ')}",
        digits=1,
        band=AP_BAND,
        detectors=("mask_rcnn",) if what == "mask" else (),
        shown="files" if "_" in part else "papers" if part else "everywhere",
    )


CLASSIFY = Task(
    "classify",
    (
        Measure("top1", "top1_pct", "Top-1", is_share=True, shown="everywhere"),
        Measure("top5", "top5_pct", "Top-5", is_share=True),
    ),
)
DETECT = Task(
    "detect",
    (
        _precision("mask"),
        _precision("box"),
        *(_precision(what, part) for what in ("mask", "box") for part in _PARTS),
    ),
    single_seed="average precision of one seed has no interval; rows of one seed share a rank "
    f"within {AP_BAND:g}, since equal runs on COCO differ by 0.2 to 0.3 as mmdetection's "
    "maintainers say (smaller validation sets scatter more)",
)

TASKS: Mapping[str, Task] = {task.name: task for task in (CLASSIFY, DETECT)}
"""Tasks whose results are ranked, by name."""


def task_of(name: Json) -> Task:
    """Return a task; one that is not ranked by a score has no measures."""
    return TASKS.get(str(name), Task(str(name)))


def measures_of(facts: Mapping[str, Json]) -> tuple[Measure, ...]:
    """Return what a result with these facts may be scored in; the first ranks."""
    return task_of(facts.get("task")).applying(facts.get("detector"))


def ranking(measures: Sequence[Measure], by: str = "") -> Measure | None:
    """Return which of some measures ranks: the one that is named, else the first."""
    named = [one for one in measures if one.name == by]
    return next(iter([*named, *measures]), None)


def require(by: str, tasks: Sequence[str] = ()) -> None:
    """Refuse a measure that none of some tasks has.

    Args:
        by: Name of a measure; empty: each task's own.
        tasks: Their names; empty: all.

    Raises:
        ConvoyError: Names those of the tasks.
    """
    known = [one.name for task in tasks or TASKS for one in task_of(task).measures]
    if by and by not in known:
        what = f"of {' and '.join(tasks)}" if tasks else "by which to rank"
        choice = f"known: {', '.join(known)}" if known else "it is ranked by latency alone"
        raise ConvoyError(f"unknown measure {by!r} {what}; {choice}")
