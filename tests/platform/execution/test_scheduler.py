"""The scheduler decides; it is asked with snapshots made by hand."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from convoy.launchers import Node
from convoy.phrases import duration, ordinal
from convoy.places import Floor
from convoy.records import Attempt, Run
from convoy.scheduler import PATIENCE_S, Plan, Snapshot, plan
from convoy.states import Failure, Outcome, Phase, RunState, Waiting
from jobs.job import Resources

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ONE = Resources(workers=1, cpus=1.0)
PC = Node("pc", cpus=2.0)
BOX = Node("box", cpus=8.0, gpus=4.0)


def ago(seconds: float) -> datetime:
    return NOW - timedelta(seconds=seconds)


def run(number: int, resources: Resources = ONE, **changes: Any) -> Run:
    plain = Run(
        id=number,
        kind="classify",
        spec={},
        spec_hash="",
        resources=resources,
        owner="ada",
        name="",
        backbone="",
        data="",
        recipe="",
        study="",
        priority=0,
        key=None,
        depends_on=(),
        retry_of=None,
        code={},
        state=RunState.QUEUED,
        attempt=0,
        created_at=ago(1),
        started_at=None,
        ended_at=None,
        not_before=None,
        waiting=None,
        waiting_detail="",
        cancel_reason="",
        phase=None,
        status="",
        step=0,
        total_steps=0,
        epoch=0,
        step_at=None,
        eta_s=None,
        last={},
        best={},
        result=None,
        failure=None,
        failure_text="",
    )
    return replace(plain, **changes)


def attempt(of: Run, node: str = "pc", **changes: Any) -> Attempt:
    plain = Attempt(
        run_id=of.id,
        number=1,
        dispatcher="d",
        phase=Phase.RUNNING,
        outcome=None,
        failure=None,
        error="",
        node=node,
        pid=7,
        environment={},
        resources=of.resources,
        resumed_step=None,
        created_at=ago(100),
        began_at=ago(99),
        first_step_at=ago(90),
        ended_at=None,
        released_at=None,
        lease_until=NOW + timedelta(seconds=10),
    )
    return replace(plain, **changes)


def decide(*pending: Run, live: tuple[tuple[Run, Attempt], ...] = (), **changes: Any) -> Plan:
    plain: dict[str, Any] = {
        "now": NOW,
        "pending": pending,
        "live": [held for _, held in live],
        "running": {of.id: of for of, _ in live},
        "needs": {},
        "nodes": [PC],
    }
    return plan(Snapshot(**{**plain, **changes}))


def started(decided: Plan) -> list[int]:
    return [one.run.id for one in decided.starts]


def going(number: int, resources: Resources = ONE, node: str = "pc", **changes: Any) -> Any:
    of = run(number, resources, **{"state": RunState.RUNNING, "step_at": ago(1), **changes})
    return of, attempt(of, node)


def test_runs_start_in_the_order_given_while_there_is_room() -> None:
    decided = decide(run(5), run(3), run(4))
    assert started(decided) == [5, 3]
    assert decided.waits[4][0] is Waiting.NO_CAPACITY


def test_what_waits_says_its_place_its_need_what_is_free_and_what_ends_next() -> None:
    busy = going(1, Resources(cpus=2.0), eta_s=200.0)
    text = decide(run(2), run(3), live=(busy,)).waits[3][1]
    assert text == "2nd of 2; needs 1 core; 0 of 2 cores free; run 1 ends in about 3 min"


def test_all_workers_of_a_run_start_or_none_does() -> None:
    gang = run(1, Resources(workers=3, cpus=1.0))
    busy = going(9)
    nodes = [PC, Node("pc2", cpus=1.0)]
    assert started(decide(gang, live=(busy,), nodes=nodes)) == []
    assert started(decide(gang, nodes=nodes)) == [1]


def test_one_worker_is_pinned_to_a_node_and_several_are_not() -> None:
    nodes = [BOX, PC]
    decided = decide(run(1), run(2, Resources(workers=2, gpus=1.0)), nodes=nodes)
    assert [(one.run.id, one.node) for one in decided.starts] == [(1, "pc"), (2, "")]


def test_a_small_run_passes_a_big_one_that_has_not_waited_long() -> None:
    big = run(1, Resources(cpus=2.0), created_at=ago(PATIENCE_S / 2))
    assert started(decide(big, run(2), live=(going(9),))) == [2]


def test_a_big_run_that_has_waited_long_is_not_passed_any_more() -> None:
    big = run(1, Resources(cpus=2.0), created_at=ago(PATIENCE_S * 2))
    decided = decide(big, run(2), live=(going(9),))
    assert started(decided) == []
    assert "kept for run 1" in decided.waits[2][1]


def test_what_is_kept_for_a_big_run_leaves_the_rest_to_others() -> None:
    gpus = run(1, Resources(cpus=1.0, gpus=4.0), created_at=ago(PATIENCE_S * 2))
    busy = going(9, Resources(cpus=1.0, gpus=2.0), "box")
    cpu_only, gpu = run(2), run(3, Resources(gpus=1.0))
    assert started(decide(gpus, cpu_only, gpu, live=(busy,), nodes=[BOX])) == [2]


def test_a_run_that_never_fits_says_so_and_keeps_nothing() -> None:
    huge = run(1, Resources(workers=2, cpus=4.0), created_at=ago(PATIENCE_S * 9))
    decided = decide(huge, run(2))
    assert decided.waits[1][0] is Waiting.NEVER_FITS
    assert "2 workers of 4 cores" in decided.waits[1][1]
    assert "pc with 2 cores" in decided.waits[1][1]
    assert started(decided) == [2]


def test_several_workers_never_start_where_there_is_one_process() -> None:
    pair = run(1, Resources(workers=2, cpus=0.5))
    assert started(decide(pair)) == [1]
    why, text = decide(pair, most_workers=1).waits[1]
    assert why is Waiting.NEVER_FITS
    assert "dispatch on Ray" in text


def test_without_nodes_nothing_is_said_to_never_fit() -> None:
    assert decide(run(1), nodes=[]).waits[1][0] is Waiting.NO_CAPACITY


def test_an_exclusive_run_waits_for_an_empty_node_and_lets_nobody_join() -> None:
    alone = run(1, kind="benchmark")
    exclusive = frozenset({"benchmark"})
    assert started(decide(alone, live=(going(9),), exclusive=exclusive)) == []
    assert started(decide(alone, run(2), exclusive=exclusive)) == [1]
    measuring = going(9, kind="benchmark")
    assert started(decide(run(2), live=(measuring,), exclusive=exclusive)) == []


def test_two_exclusive_runs_do_not_share_a_node() -> None:
    pair = (run(1, kind="benchmark"), run(2, kind="benchmark"))
    assert started(decide(*pair, exclusive=frozenset({"benchmark"}))) == [1]


def test_an_exclusive_run_on_a_gpu_has_its_device_and_shares_the_machine() -> None:
    alone = run(1, Resources(gpus=1.0), kind="benchmark")
    busy = going(9, Resources(gpus=1.0), "box")
    exclusive = frozenset({"benchmark"})
    assert started(decide(alone, live=(busy,), nodes=[BOX], exclusive=exclusive)) == [1]


def test_a_run_waits_for_what_it_depends_on() -> None:
    waits = run(2, depends_on=(1,))
    decided = decide(waits, needs={1: RunState.RUNNING})
    assert decided.waits[2] == (Waiting.DEPENDENCY, "waits for run 1 (running)")
    assert started(decide(waits, needs={1: RunState.SUCCEEDED})) == [2]


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELLED])
def test_a_run_whose_dependency_did_not_succeed_is_doomed(state: RunState) -> None:
    decided = decide(run(2, depends_on=(1,)), needs={1: state})
    assert f"run 1 {state}" in decided.doomed[2]
    assert not decided.starts
    assert 2 not in decided.waits


def test_a_pause_after_a_failure_is_kept() -> None:
    resting = run(1, not_before=NOW + timedelta(seconds=5), attempt=1)
    assert decide(resting).waits[1][0] is Waiting.BACKOFF
    assert started(decide(replace(resting, not_before=ago(0)))) == [1]


def test_no_attempt_starts_while_the_one_before_is_not_cleared_away() -> None:
    again = run(1, attempt=1)
    ended = attempt(again, phase=Phase.ENDED, outcome=Outcome.LOST, ended_at=ago(1))
    decided = decide(again, live=((again, ended),))
    assert not decided.starts
    assert "attempt 1 is being cleared away" in decided.waits[1][1]
    assert list(decided.clear) == [ended]


def test_an_attempt_whose_lease_ran_out_is_lost_and_one_that_is_only_silent_is_not() -> None:
    of, held = going(1)
    late = replace(held, lease_until=ago(3))
    assert not decide(live=((of, late),)).lost  # the store does not name it: an outage
    (lost,) = decide(live=((of, late),), overdue=frozenset({(1, 1)})).lost
    assert (lost.failure, lost.attempt) == (Failure.NODE_LOST, late)


def test_an_attempt_that_never_showed_itself_was_not_placed() -> None:
    of, held = going(1)
    placing = replace(held, phase=Phase.PLACING, began_at=None, lease_until=ago(3))
    (lost,) = decide(live=((of, placing),), overdue=frozenset({(1, 1)})).lost
    assert lost.failure is Failure.PLACEMENT


def test_an_attempt_without_a_step_for_long_is_ended_unless_the_store_was_away() -> None:
    of = run(1, state=RunState.RUNNING, step=40, step_at=ago(700))
    held = attempt(of, created_at=ago(2000), began_at=ago(2000))
    (lost,) = decide(live=((of, held),), progress_s=600.0).lost
    assert lost.failure is Failure.NO_PROGRESS
    assert "step 40" in lost.evidence
    assert not decide(live=((of, held),), progress_s=600.0, steady=False).lost
    assert not decide(live=((of, held),), progress_s=800.0).lost


def test_a_step_of_an_earlier_attempt_does_not_count_as_silence() -> None:
    of = run(1, state=RunState.RUNNING, step_at=ago(5000))
    held = attempt(of, created_at=ago(50), began_at=ago(49))
    assert not decide(live=((of, held),), progress_s=600.0).lost


def test_an_attempt_that_is_being_placed_holds_its_place() -> None:
    of, held = going(1, Resources(cpus=2.0))
    placing = replace(held, node="", phase=Phase.PLACING)
    assert started(decide(run(2), live=((of, placing),))) == []
    elsewhere = {(1, 1): "box"}
    assert started(decide(run(2), live=((of, placing),), nodes=[PC, BOX], placed=elsewhere)) == [2]


def test_however_runs_come_no_node_is_overfilled_and_none_waits_for_free_room() -> None:
    for seed in range(200):
        dice = random.Random(seed)
        nodes = [
            Node(f"n{i}", cpus=dice.choice([1, 2, 8]), gpus=dice.choice([0, 0, 2]))
            for i in range(dice.randint(1, 4))
        ]
        pending = [
            run(i, Resources(dice.randint(1, 3), dice.choice([0.5, 1, 2]), dice.choice([0, 0, 1])))
            for i in range(1, 12)
        ]
        decided = decide(*pending, nodes=nodes)
        floor = Floor(nodes)
        for one in decided.starts:
            places = floor.place(one.run.resources)
            assert places, f"seed {seed}: run {one.run.id} was started without room"
            floor.take(places, one.run.resources)
        for run_id, (why, _) in decided.waits.items():
            wanted = next(one.resources for one in pending if one.id == run_id)
            assert bool(Floor(nodes).place(wanted)) == (why is Waiting.NO_CAPACITY)
            assert not floor.place(wanted), f"seed {seed}: run {run_id} waits for nothing"


def test_amounts_in_words() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 112)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "112th",
    ]  # fmt: skip
    assert [duration(s) for s in (2, 31, 200, 8000)] == [
        "5 s",
        "30 s",
        "about 3 min",
        "about 2.2 h",
    ]
