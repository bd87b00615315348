"""A whole platform in a folder of its own, for drills on real Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from convoy.records import NewRun, Run
from convoy.settings import Settings
from convoy.store import Store
from jobs.job import Resources, read_spec


class Platform:
    """A home folder with a store, and dispatchers as processes of their own."""

    def __init__(self, home: Path, cache: Path) -> None:
        self.home = home
        self.settings = Settings(home=home, cache=cache).resolved()
        self.store = Store.create(self.settings.store_url)
        self.output = (home / "dispatcher.log").open("w")
        self.started: list[subprocess.Popen[bytes]] = []

    def dispatch(self) -> subprocess.Popen[bytes]:
        environment = {
            **os.environ,
            "CONVOY_HOME": str(self.home),
            "CONVOY_CACHE": str(self.settings.cache),
        }
        command = [sys.executable, "-m", "convoy", "dispatch"]
        process = subprocess.Popen(command, env=environment, stdout=self.output, stderr=self.output)
        self.started.append(process)
        return process

    def submit(self, kind: str, values: Mapping[str, Any], *, after: Sequence[int] = ()) -> Run:
        spec = read_spec(kind, values)
        run = NewRun(
            kind=kind,
            spec=spec.model_dump(mode="json"),
            spec_hash=spec.digest(),
            resources=Resources(),
            owner="ada",
            backbone=str(values.get("backbone", "")),
            depends_on=tuple(after),
        )
        return self.store.submit([run])[0]

    def close(self) -> None:
        for process in self.started:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
        self.store.close()
        self.output.close()
