"""Whether a failed run is tried again: pure, by class of failure, each with a budget of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from convoy.states import Failure


class Verdict(Enum):
    """What becomes of the run."""

    RETRY = auto()
    FAIL = auto()


@dataclass(frozen=True)
class Budget:
    """How often, and how soon, a class of failure is tried again.

    Attributes:
        retries: Failures of the class that are forgiven to one run.
        pause_s: Rest after the first of them; doubles with each further one.
        cause: What the class means, as a failure text begins.
        progress_pardons: Whether a failure is free when its attempt got further than all before.
    """

    retries: int
    pause_s: float
    cause: str
    progress_pardons: bool = False


LONGEST_PAUSE_S = 600.0
"""No rest is longer: beyond ten minutes a person who fixed the cause would wait for nothing."""

BUDGETS: Mapping[Failure, Budget] = {
    # Ordinary on borrowed machines and no sign of a fault; the count only stops a run that is put
    # off twenty times in a row before it could save once. A short rest: its place is gone anyway.
    Failure.PREEMPTED: Budget(20, 5.0, "its machine was taken back", progress_pardons=True),
    # Machines die independently of the run; five in a row without one more checkpoint means that
    # the run, or what it is placed on, kills them.
    Failure.NODE_LOST: Budget(5, 5.0, "the machine or its connection was lost", True),
    # Killed by a person or by the kernel: once is bad luck; a crash in native code comes back at
    # the same place, and three more tries tell the two apart. Short, for nothing has to recover.
    Failure.PROCESS_DIED: Budget(3, 2.0, "its process died", True),
    # A neighbour may have eaten the memory: one more try, after a rest that lets it leave.
    # The same run on an empty machine needs as much the second time.
    Failure.HOST_MEMORY: Budget(1, 30.0, "the machine ran out of memory"),
    # What a dead process held is freed late; once is enough for that. The batch stays as the recipe
    # says, so a run that is too large stays too large.
    Failure.GPU_MEMORY: Budget(1, 30.0, "the GPU ran out of memory"),
    # The same seed meets the same numbers again.
    Failure.DIVERGED: Budget(0, 0.0, "the loss or a weight is not finite any more"),
    # Files and code do not mend themselves; retrying would only hide the message.
    Failure.DATA: Budget(0, 0.0, "the data are missing or broken"),
    Failure.CODE: Budget(0, 0.0, "the code raised an error"),
    Failure.SPEC: Budget(0, 0.0, "the spec cannot be carried out"),
    # Full disks are emptied and network folders come back, in minutes: 10 + 20 + 40 + 80 + 160 s.
    Failure.STORAGE: Budget(5, 10.0, "files could not be written or read"),
    # Never the run's fault, and a store is restarted in seconds to minutes: ten tries make 45 min.
    Failure.STORE_AWAY: Budget(10, 5.0, "the store could not be reached"),
    # A hang in a data loader or between workers is often a race: one more try. Twice at the same
    # place is not, and each try costs a whole deadline.
    Failure.NO_PROGRESS: Budget(1, 10.0, "no step was done within the deadline"),
    # What was free when it was planned was taken: ordinary on a busy cluster.
    Failure.PLACEMENT: Budget(5, 5.0, "it could not be placed in time"),
    # It never started; what it waits for will not come.
    Failure.DEPENDENCY: Budget(0, 0.0, "a run that it depends on did not succeed"),
}


@dataclass(frozen=True)
class Fault:
    """How one attempt failed.

    Attributes:
        failure: Class of the failure.
        saved_step: Step of the newest checkpoint that this attempt wrote, or None.
    """

    failure: Failure
    saved_step: int | None = None


@dataclass(frozen=True)
class Decision:
    """What to do, and the numbers behind it.

    Attributes:
        verdict: Again, or not.
        pause_s: Rest before the next attempt; 0 when there is none.
        used: Failures of this class that count, with this one.
        retries: How many the class forgives.
        reason: All that in words, for the history.
    """

    verdict: Verdict
    pause_s: float
    used: int
    retries: int
    reason: str


def decide(
    fault: Fault,
    earlier: Sequence[Fault] = (),
    *,
    budgets: Mapping[Failure, Budget] = BUDGETS,
) -> Decision:
    """Say whether the run is tried again.

    Args:
        fault: How the attempt that just ended failed.
        earlier: The run's earlier failures, oldest first.
        budgets: What is forgiven.
    """
    budget = budgets[fault.failure]
    counted = _counted(fault.failure, [*earlier, fault], pardons=budget.progress_pardons)
    used = sum(counted)
    if used > budget.retries:
        spent = f"all {budget.retries} retries are used" if budget.retries else "not tried again"
        return Decision(Verdict.FAIL, 0.0, used, budget.retries, spent)
    if not counted[-1]:
        reason = f"it got further than before, so that this costs none of {budget.retries} retries"
        return Decision(Verdict.RETRY, budget.pause_s, used, budget.retries, reason)
    pause_s = min(budget.pause_s * 2 ** (used - 1), LONGEST_PAUSE_S)
    reason = f"retry {used} of {budget.retries}, in {pause_s:g} s"
    return Decision(Verdict.RETRY, pause_s, used, budget.retries, reason)


def _counted(failure: Failure, faults: Sequence[Fault], *, pardons: bool) -> list[bool]:
    """Tell of each fault of the class whether it uses up the budget."""
    counted, furthest = [], 0
    for fault in faults:
        reached = fault.saved_step or 0
        if fault.failure is failure:
            counted.append(not (pardons and reached > furthest))
        furthest = max(furthest, reached)
    return counted
