"""The command is light: what it loads, and what that costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

HEAVY = (
    "torch",
    "ray",
    "timm",
    "torchvision",
    "numpy",
    "pandas",
    "streamlit",
    "sklearn",
    "alembic",
)
SUBMIT = (
    *("submit", "classify", "resnet18(stem=small)/eca", "--quiet"),
    *("--set", "data=digits", "--set", "recipe=digits_quick"),
)
STUDY = (
    *("submit", "study", "kw-resnet18-300e", "--quiet"),
    *("--set", "data=digits", "--set", "recipe.batch_size=128"),
)
LOADED = """
import json, sys
from convoy.cli import app
try:
    app(sys.argv[1:], prog_name="platform")
except SystemExit as ended:
    assert not ended.code, ended.code
sys.stderr.write("\\n" + json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
ROUNDS = 2


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder made by the command itself, with one run."""
    folder = tmp_path_factory.mktemp("startup") / ".convoy"
    run(folder, "init")
    run(folder, *SUBMIT)
    return folder


def run(home: Path, *words: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "convoy", "--home", str(home), *words],
        check=True,
        capture_output=True,
    )


def cpu_s(command: Sequence[str]) -> float:
    """CPU time of a child and its children, seconds; the least of some rounds."""
    spent = []
    for _ in range(ROUNDS):
        before = os.times()
        subprocess.run(command, check=True, capture_output=True)
        after = os.times()
        user = after.children_user - before.children_user
        spent.append(user + after.children_system - before.children_system)
    return min(spent)


@pytest.mark.parametrize(
    "words",
    [
        ("--help",),
        ("runs",),
        ("show", "1"),
        ("leaderboard",),
        ("leaderboard", "--study", "kw-resnet18-300e"),
        ("networks",),
        ("studies", "kw-resnet18-300e"),
        SUBMIT,
        STUDY,
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_nothing_heavy_is_loaded(home: Path, words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "--home", str(home), *words],
        check=True,
        capture_output=True,
        text=True,
    )
    loaded = json.loads(done.stderr.splitlines()[-1])
    assert not set(HEAVY) & set(loaded)


@pytest.mark.parametrize(
    ("words", "limit_s"),
    [(("--help",), 0.5), (("runs",), 0.5), (SUBMIT, 1.0)],
    ids=["help", "runs", "submit"],
)
def test_starting_costs_little(home: Path, words: tuple[str, ...], limit_s: float) -> None:
    # A busy machine makes CPU time longer too (shared caches, hyper-threads), by up to a half here.
    # So the limit holds for a machine on which Python with pydantic and SQLAlchemy takes 0.25 s.
    reference_s = cpu_s([sys.executable, "-c", "import pydantic.main, sqlalchemy"])
    slowness = max(1.0, reference_s / 0.25)
    spent_s = cpu_s([sys.executable, "-m", "convoy", "--home", str(home), *words])
    assert spent_s < limit_s * slowness
