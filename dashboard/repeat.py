"""How to do a run again: its spec as a file, and the command."""

from __future__ import annotations

import json
import shlex

from convoy.records import Run


def file_name(run: Run) -> str:
    """Return the name under which the spec is offered."""
    return f"run-{run.id}.json"


def spec_text(run: Run) -> str:
    """Return the spec as JSON that ``platform submit --file`` takes."""
    return json.dumps(run.spec, indent=2)


def command(run: Run) -> str:
    """Return the shell lines that submit it again, with the code it was submitted with."""
    resources = run.resources
    words = [
        *("platform", "submit", run.kind, "--file", file_name(run)),
        *("--workers", str(resources.workers), "--cpus", f"{resources.cpus:g}"),
        *("--gpus", f"{resources.gpus:g}"),
    ]
    commit = run.code.get("commit")
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    return "\n".join([*lines, shlex.join(words)])
