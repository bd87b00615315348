"""The leaderboard drawn for the terminal: key facts above each group, rows ranked below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from convoy.leaderboard import exports
from convoy.leaderboard.measures import Measure
from convoy.leaderboard.rows import Group, Row
from convoy.terminal import tables
from convoy.terminal.tables import Cell

MILLION = 1e6
RATIO = "ratio to plain (95 %)"
TIMES = ("p50 ms", RATIO)


def draw(groups: Sequence[Group], *, apart: bool = False) -> None:
    """Print the groups, the largest first, each with what it shares and how it differs.

    Args:
        groups: Of one leaderboard.
        apart: Whether a table stands above already with which none of them can be compared.
    """
    if not groups:
        tables.put("nothing to rank yet: no run that fits has succeeded")
        return
    for number, group in enumerate(groups, 2 if apart else 1):
        if number == 2:
            tables.put(Text("Measured otherwise, so not comparable with the above", style="bold"))
        tables.put(Text(exports.headline(group), style="bold"))
        tables.put(_table(group))
        for text in _notes(group):
            tables.put(Text(f"  {text}", style="dim"))
        tables.put("")


def _table(group: Group) -> Table:
    pair = exports.main_protocol(group)
    scores = {_heading(one, group): one for one in exports.scores_shown(group)}
    headings = ["rank", "backbone", *scores, "seeds", "params M", "MAdds M", *TIMES, "runs"]
    estimates = [one for row in group.rows if (one := row.estimate(group.measure))]
    idle = {
        *(() if any(estimate.n > 1 for estimate in estimates) else ("seeds",)),
        *(() if pair else TIMES),
    }
    shown = [heading for heading in headings if heading not in idle]
    cells = [_cells(row, group, scores) for row in group.rows]
    return tables.grid(
        shown,
        [[row[heading] for heading in shown] for row in cells],
        right=("rank", "seeds", "params M", "MAdds M", "p50 ms"),
        keep=("rank",),
    )


def _heading(measure: Measure, group: Group) -> str:
    estimates = [row.estimate(measure) for row in group.rows]
    has_interval = any(one and one.method for one in estimates)
    return f"{measure.word} {measure.unit}{' (95 %)' if has_interval else ''}"


def _cells(row: Row, group: Group, scores: Mapping[str, Measure]) -> dict[str, Cell]:
    """Return what stands under each heading."""
    main = row.estimate(group.measure)
    latency = exports.latency_of(row, exports.main_protocol(group))
    best = row.rank == 1
    runs = [*(row.accuracy.runs.values() if row.accuracy else ())]
    runs += [latency.run] if latency else []
    return {
        "rank": "-" if row.rank is None else str(row.rank),
        "backbone": Text(row.backbone, style="bold" if best else ""),
        **{
            heading: Text(
                exports.score_text(row.estimate(one), one),
                style="green" if best and one is group.measure else "",
            )
            for heading, one in scores.items()
        },
        "seeds": str(main.n) if main else "-",
        "params M": "-" if row.params is None else f"{row.params / MILLION:.2f}",
        "MAdds M": "-" if row.madds is None else f"{row.madds / MILLION:.1f}",
        "p50 ms": f"{latency.p50_ms:.2f}" if latency else "-",
        RATIO: exports.ratio_text(latency) if latency else "-",
        "runs": " ".join(map(str, runs)),
    }


def _notes(group: Group) -> list[str]:
    notes = [exports.interval_note(group)]
    if any(row.accuracy for row in group.rows):
        notes.append("rows of one rank cannot be told apart")
    notes += exports.latency_notes(group)
    others = exports.protocols(group)[1:]
    notes += [f"also measured: {protocol} on {device} (--json)" for device, protocol in others]
    if group.differs:
        facts = (f"{name} {here} (above {there})" for name, (here, there) in group.differs.items())
        notes.append(f"differs in {', '.join(facts)}")
    if measure := group.measure:
        notes += [_published_text(row, measure) for row in group.rows if row.published]
    return [note for note in notes if note]


_NOISE = {True: ", within noise", False: ", beyond noise", None: ""}


def _published_text(row: Row, measure: Measure) -> str:
    beside = next((one for one in row.published if measure.name in one.compared), row.published[0])
    theirs = measure.printed(beside.row)
    printed = (
        f"no {measure.word}" if theirs is None else f"{measure.word} {theirs:g} {measure.unit}"
    )
    verdict = ""
    if compared := beside.compared.get(measure.name):
        noise = _NOISE[compared.within_noise]
        verdict = f"; ours differs by {compared.difference:+.{measure.digits}f}{noise}"
    known = f"; {'; '.join(beside.differences)}" if beside.differences else ""
    return f"published, {row.backbone}: {printed} ({beside.row.source}){verdict}{known}"
