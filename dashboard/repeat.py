"""How to do a run again."""

from __future__ import annotations

import json
import shlex

from convoy.records import Run


def spec_text(run: Run) -> str:
    """Return the spec as JSON, as ``platform submit --file`` takes it."""
    return json.dumps(run.spec, indent=2)


def command(run: Run) -> str:
    """Return the shell lines that submit a run again, with the code it was submitted with."""
    resources, file = run.resources, f"run-{run.id}.json"
    words = [
        *("platform", "submit", run.kind, "--file", file),
        *("--workers", str(resources.workers), "--cpus", f"{resources.cpus:g}"),
        *("--gpus", f"{resources.gpus:g}"),
    ]
    commit = run.code.get("commit")
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    if run.code.get("dirty"):
        lines.append("# the tree was changed: apply what 'Code and environment' shows")
    return "\n".join([*lines, f"platform show {run.id} --spec > {file}", shlex.join(words)])
