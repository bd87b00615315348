"""All about one run, drawn for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from rich.table import Table
from rich.text import Text

from convoy import listing
from convoy.durations import span_text
from convoy.records import Attempt, Json, Move, Run
from convoy.store import Store
from convoy.terminal import tables
from convoy.terminal.tables import Cell

STAMP = "%Y-%m-%d %H:%M:%S"
HISTORY_LINES = 30


def draw(store: Store, run: Run) -> None:
    """Print a run with its attempts, history, result and files."""
    now = store.now()
    tables.put(Text(_title(run), style="bold"))
    tables.put(_facts(run, now=now))
    if run.failure_text:
        tables.put(Text(run.failure_text.rstrip(), style="red"))
    if run.result:
        tables.put(_result(run.result))
    if attempts := store.attempts(run.id):
        tables.put(_attempts(attempts))
    tables.put(_history(store.history(run.id)))
    if files := list(_files(store, run.id)):
        tables.put(tables.grid(("file", "step", "MiB", "path"), files, right=("step", "MiB")))


def _title(run: Run) -> str:
    name = f" “{run.name}”" if run.name else ""
    return f"run {run.id}{name}: {run.kind} {run.backbone}".rstrip()


def _facts(run: Run, *, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in _fact_rows(run, now=now):
        if value:
            table.add_row(
                Text(name, style="dim"), value if isinstance(value, Text) else Text(value)
            )
    return table


def _fact_rows(run: Run, *, now: datetime) -> Iterator[tuple[str, Cell]]:
    yield "state", tables.state_text(run.state)
    yield ("why" if run.state.is_final or not run.attempt else "now"), listing.progress_text(run)
    if run.total_steps:
        epoch = f", epoch {run.epoch}" if run.epoch else ""
        yield "steps", f"{run.step:,} of {run.total_steps:,}{epoch}"
    yield "score", listing.score_text(run)
    yield "data", run.data
    yield "recipe", run.recipe
    yield "takes", resources_text(run)
    yield "owner", f"{run.owner}, priority {run.priority}"
    yield "study", run.study
    yield "key", run.key or ""
    yield "after", ", ".join(f"run {other}" for other in run.depends_on)
    yield "takes up", f"run {run.retry_of}" if run.retry_of else ""
    yield "submitted", f"{run.created_at:{STAMP}} UTC, {listing.age_text(run, now=now)} ago"
    if run.started_at:
        yield "ran for", listing.duration_text(run, now=now)
    yield "code", _code_text(run.code)
    yield "spec", f"hash {run.spec_hash}; platform show {run.id} --spec prints it"


def resources_text(run: Run) -> str:
    """Return ``1 worker of 1 core`` and the like."""
    wanted = run.resources
    gpus = f" and {wanted.gpus:g} GPU" if wanted.gpus else ""
    workers = "1 worker" if wanted.workers == 1 else f"{wanted.workers} workers"
    return f"{workers} of {wanted.cpus:g} {'core' if wanted.cpus == 1 else 'cores'}{gpus}"


def _code_text(code: Mapping[str, Json]) -> str:
    commit = str(code.get("commit") or "")[:12]
    changed = " with changes (kept with the run)" if code.get("dirty") else ""
    return f"{code.get('version', '')} {commit}{changed}".strip()


def _result(result: Mapping[str, Json]) -> Table:
    rows = [(name, f"{value:.6g}") for name, value in (result.get("scores") or {}).items()]
    rows += [(name, str(value)) for name, value in (result.get("facts") or {}).items()]
    return tables.grid(("result", "value"), rows, right=("value",))


def _attempts(attempts: list[Attempt]) -> Table:
    rows = [
        (
            str(attempt.number),
            attempt.phase.value,
            attempt.outcome.value if attempt.outcome else "",
            attempt.node,
            "" if attempt.resumed_step is None else str(attempt.resumed_step),
            f"{attempt.created_at:{STAMP}}",
            _span(attempt),
            (attempt.error or "").strip().partition("\n")[0],
        )
        for attempt in attempts
    ]
    names = ("attempt", "phase", "outcome", "node", "from step", "claimed (UTC)", "took", "error")
    return tables.grid(names, rows, right=("attempt", "from step"), keep=("claimed (UTC)", "took"))


def _span(attempt: Attempt) -> str:
    if not attempt.ended_at:
        return ""
    return span_text((attempt.ended_at - attempt.created_at).total_seconds())


def _history(moves: list[Move]) -> Table:
    shown = moves[-HISTORY_LINES:]
    rows = [
        (
            f"{move.at:{STAMP}}",
            str(move.attempt) if move.attempt else "",
            tables.state_text(move.target) if move.target else "",
            move.reason,
        )
        for move in shown
    ]
    hidden = f"{len(moves) - len(shown)} earlier lines: --json" if len(shown) < len(moves) else ""
    names = ("history (UTC)", "attempt", "state", "reason")
    return tables.grid(names, rows, right=("attempt",), keep=("history (UTC)",), caption=hidden)


def _files(store: Store, run_id: int) -> Iterator[tuple[str, str, str, str]]:
    for checkpoint in store.checkpoints(run_id):
        yield "checkpoint", str(checkpoint.step), f"{checkpoint.size_mib:.1f}", checkpoint.path
    for artifact in store.artifacts(run_id):
        yield artifact.name, "", f"{artifact.size_mib:.1f}", artifact.path
