"""Two workers that train together in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jobs.job import Spec


def run_together(folder: Path, specs: Sequence[Spec], *, kind: str, repository: Path) -> None:
    """Train the specs one after the other on two gloo workers."""
    path = os.pathsep.join([str(repository), str(repository / "platform")])
    workers = [
        subprocess.Popen(
            [
                sys.executable,
                str(Path(__file__).with_name("worker.py")),
                kind,
                str(rank),
                "2",
                str(folder),
                *(spec.model_dump_json() for spec in specs),
            ],
            env={**os.environ, "PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        for worker in workers:
            _, errors = worker.communicate(timeout=120)
            assert worker.returncode == 0, errors
    finally:
        for worker in workers:
            worker.kill()
