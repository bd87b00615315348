from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from jobs.data.alone import alone

TAKE = """
import sys
from pathlib import Path
from jobs.data.alone import alone

print("ready", flush=True)
with alone("set", cache=Path(sys.argv[1])):
    print("inside", flush=True)
"""


def test_a_second_process_waits_outside(tmp_path: Path, repository: Path) -> None:
    with alone("set", cache=tmp_path):
        other = subprocess.Popen(
            [sys.executable, "-c", TAKE, str(tmp_path)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=repository,
        )
        assert other.stdout is not None
        assert other.stdout.readline() == "ready\n"
        with pytest.raises(subprocess.TimeoutExpired):
            other.wait(0.5)  # it would have ended by now
    assert other.stdout.readline() == "inside\n"
    assert other.wait(30) == 0
    other.stdout.close()
