"""Checkpoints and artifacts: whole or not there, and never read when they do not match."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import fsspec
import pytest

from convoy.errors import StorageError
from convoy.storage import RunPaths, Storage, verify

NAME = RunPaths(3).checkpoint(1, 200)


@pytest.fixture(params=["folder", "memory"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A folder, and something that is none and cannot rename."""
    if request.param == "folder":
        yield Storage((tmp_path / "storage").as_uri())
        return
    yield Storage(f"memory://{uuid4().hex}")
    fsspec.filesystem("memory").store.clear()


def publish(storage: Storage, name: str = NAME) -> None:
    with storage.publishing(name) as folder:
        (folder / "model.bin").write_bytes(b"weights")
        (folder / "more").mkdir()
        (folder / "more" / "state.json").write_text("{}")


def test_what_is_published_comes_back_verified(storage: Storage, tmp_path: Path) -> None:
    publish(storage)
    folder = storage.fetch(NAME, into=tmp_path / "here")
    assert (folder / "model.bin").read_bytes() == b"weights"
    assert (folder / "more" / "state.json").read_text() == "{}"
    assert storage.size_mib(NAME) > 0


def test_nothing_appears_when_writing_breaks_off(storage: Storage) -> None:
    def break_off() -> None:
        with storage.publishing(NAME) as folder:
            (folder / "model.bin").write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_off()
    assert storage.names(RunPaths(3).checkpoints(1)) == []


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing", "no manifest"])
def test_what_does_not_match_its_checksums_is_not_read(damage: str, tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    publish(storage)
    file = tmp_path / NAME / "model.bin"
    if damage == "changed":
        file.write_bytes(b"weightS")
    elif damage == "shorter":
        file.write_bytes(b"w")
    else:
        (file if damage == "missing" else file.with_name("manifest.json")).unlink()
    with pytest.raises(StorageError):
        verify(tmp_path / NAME)


def test_a_place_that_is_taken_is_not_overwritten(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    publish(storage)
    with pytest.raises(StorageError):
        publish(storage)
    verify(tmp_path / NAME)


def test_removing_is_complete_and_twice_is_harmless(storage: Storage) -> None:
    publish(storage)
    storage.remove(NAME)
    storage.remove(NAME)
    assert storage.names(RunPaths(3).checkpoints(1)) == []


def test_a_file_is_kept(storage: Storage, tmp_path: Path) -> None:
    (tmp_path / "curve.csv").write_text("1,2")
    storage.put(tmp_path / "curve.csv", name=RunPaths(3).artifact(1, "curve.csv"))
    assert storage.read_text(RunPaths(3).artifact(1, "curve.csv")) == "1,2"
    assert storage.names(f"{RunPaths(3).attempt(1)}/artifacts") == [
        RunPaths(3).artifact(1, "curve.csv")
    ]


def test_a_small_text_is_written_and_read(storage: Storage) -> None:
    assert storage.read_text(RunPaths(3).stop(1)) is None
    storage.write_text(RunPaths(3).stop(1), "why")
    assert storage.read_text(RunPaths(3).stop(1)) == "why"


def test_a_full_disk_is_named_with_what_would_help(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    with (
        pytest.raises(StorageError, match="no space is left; free some or set CONVOY_STORAGE_URL"),
        storage.publishing(NAME),
    ):
        raise OSError(errno.ENOSPC, "No space left on device")


def test_too_little_space_is_found_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=3 * 2**20))
    with pytest.raises(StorageError, match="3 MiB free, 64 MiB needed"):
        Storage(tmp_path.as_uri()).check()


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write to storage"):
        Storage((tmp_path / "file" / "storage").as_uri()).check()


def test_an_address_of_an_unknown_kind_is_refused() -> None:
    with pytest.raises(StorageError, match="cannot use storage ftpx://host/x"):
        Storage("ftpx://host/x")


def test_a_check_leaves_nothing_behind(storage: Storage) -> None:
    storage.check()
    assert storage.names("") == []
