from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from convoy import provenance
from convoy.provenance import code_version


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout in which this module's file is tracked, with one commit."""
    here = tmp_path / "jobs"
    here.mkdir()
    (here / "provenance.py").write_text("one\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(provenance, "__file__", str(here / "provenance.py"))
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "first")):
        subprocess.run(["git", "-C", tmp_path, *words], check=True, capture_output=True)
    code_version.cache_clear()
    yield tmp_path
    code_version.cache_clear()


def test_a_clean_checkout_is_its_commit(checkout: Path) -> None:
    found = code_version()
    assert len(found["commit"]) == 40
    assert found["dirty"] is False
    assert "diff" not in found


def test_changes_and_new_files_are_kept(checkout: Path) -> None:
    (checkout / "jobs" / "provenance.py").write_text("two\n")
    (checkout / "jobs" / "new.py").write_text("three\n")
    (checkout / "elsewhere.txt").write_text("no part of the code\n")
    found = code_version()
    assert found["dirty"] is True
    assert "+two" in found["diff"]
    assert "+three" in found["diff"]
    assert "no part" not in found["diff"]
    assert found["diff_cut"] is False


def test_a_difference_that_is_too_long_is_kept_by_its_hash(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "LIMIT_BYTES", 10)
    (checkout / "jobs" / "provenance.py").write_text("two\n")
    found = code_version()
    assert (len(found["diff"]), found["diff_cut"], len(found["diff_sha256"])) == (10, True, 64)


def test_outside_of_a_checkout_the_version_is_all_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    code_version.cache_clear()
    assert code_version().keys() == {"version"}
    code_version.cache_clear()
