"""Initial weights as a spec names them: none, the library's, those of a file or of a run. Light."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from jobs.errors import SpecError
from jobs.job import JobContext, Parent

SCRATCH = "scratch"
PRETRAINED = "pretrained"
RUN = "run:"
"""Begins the reference to a run: ``run:12``."""

FIELD = "initial"

_REFERENCE = re.compile(r"run:\s*#?(\d{1,18})")


class Starting(Protocol):
    """A spec with initial weights."""

    @property
    def initial(self) -> str:
        """Canonical, see `canonical`."""


def canonical(text: str) -> str:
    """Return how a spec stores initial weights: a word, ``run:ID`` or an absolute path.

    Args:
        text: As typed; ``./run:12`` is a file of that name.

    Raises:
        ValueError: It begins like a run's reference, but names none.
    """
    text = text.strip()
    if not text.startswith(RUN):
        is_word = text in {SCRATCH, PRETRAINED}
        return text if is_word else str(Path(text).expanduser().absolute())
    found = _REFERENCE.fullmatch(text)
    if found is None:
        raise ValueError("a run is named by its number, such as run:12; `platform runs` lists them")
    return f"{RUN}{int(found[1])}"


def run_of(initial: str) -> int | None:
    """Return the number of the run that canonical initial weights come from, or None."""
    return int(initial.removeprefix(RUN)) if initial.startswith(RUN) else None


def is_file(initial: str) -> bool:
    """Return whether canonical initial weights come from a file."""
    return initial not in {SCRATCH, PRETRAINED} and run_of(initial) is None


def parents_of(spec: Starting) -> tuple[int, ...]:
    """Return the run that a spec starts from; what `JobKind.parents_of` asks for."""
    run_id = run_of(spec.initial)
    return () if run_id is None else (run_id,)


def with_parent(values: Mapping[str, Any], run_id: int) -> dict[str, Any]:
    """Return fields of a spec that start from a run; what `JobKind.with_parent` asks for."""
    return {**values, FIELD: f"{RUN}{run_id}"}


def find(initial: str, context: JobContext) -> Parent | None:
    """Return the run that canonical initial weights come from, or None.

    Raises:
        SpecError: It did not succeed, or keeps no checkpoint.
    """
    run_id = run_of(initial)
    return None if run_id is None else context.parent(run_id)


def name_of(initial: str, parent: Parent | None = None) -> str:
    """Return what initial weights are called where results are compared.

    Args:
        initial: Canonical; a file is read, for it is called by its content.
        parent: The run that they come from. It is called by what was done in it, so that rows whose
            backbones began alike may stand together.
    """
    if parent is not None:
        done = ("dataset_fingerprint", "recipe_hash", "initial", "train_samples_seen")
        return f"{parent.kind}#{'/'.join(str(parent.facts.get(name)) for name in done)}"
    if not is_file(initial):
        return initial
    with Path(initial).open("rb") as opened:
        return f"file#{hashlib.file_digest(opened, 'sha256').hexdigest()[:16]}"


def precheck(initial: str) -> None:
    """Look whether a file of initial weights is there.

    Raises:
        SpecError: It is not.
    """
    if is_file(initial) and not Path(initial).is_file():
        raise SpecError(
            f"{FIELD}: no file {initial}; use {SCRATCH}, {PRETRAINED}, {RUN}ID (a finished run) "
            "or a file of weights"
        )
