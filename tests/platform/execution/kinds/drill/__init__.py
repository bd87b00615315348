"""A kind for tests: counts steps, does what its spec says at one of them, resumes from files."""

from __future__ import annotations

from jobs.job import JobKind, Spec


class DrillSpec(Spec):
    steps: int = 5
    save_every: int = 1
    pause_s: float = 0.0
    mishap: str = ""
    at_step: int = 3


KIND = JobKind(spec=DrillSpec, summary="For tests.")
