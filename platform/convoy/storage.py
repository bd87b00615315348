"""Checkpoints and artifacts under one storage URL, through fsspec.

What is published is whole: in a folder it is written aside, flushed and renamed; elsewhere its
manifest, with the SHA-256 of every file, is written last. What does not match it is not read.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec

from convoy.errors import StorageError

MANIFEST = "manifest.json"
PARTIAL = ".partial-"
"""Beginning of the names of folders that are still being written."""
MIB = 2**20


@dataclass(frozen=True)
class RunPaths:
    """Every path of a run, relative to the storage URL."""

    run_id: int

    @property
    def folder(self) -> str:
        """Everything of the run."""
        return f"runs/{self.run_id}"

    def attempt(self, number: int) -> str:
        """Everything that one attempt wrote."""
        return f"{self.folder}/attempt-{number}"

    def checkpoints(self, number: int) -> str:
        """Folder of the checkpoints of an attempt."""
        return f"{self.attempt(number)}/checkpoints"

    def checkpoint(self, number: int, step: int) -> str:
        """Folder of one checkpoint."""
        return f"{self.checkpoints(number)}/{step}"

    def artifact(self, number: int, name: str) -> str:
        """One kept file."""
        return f"{self.attempt(number)}/artifacts/{name}"

    def ending(self, number: int, rank: int) -> str:
        """How one of several workers ended, as JSON."""
        return f"{self.attempt(number)}/ranks/{rank}.json"

    def stop(self, number: int) -> str:
        """Its presence asks the workers of an attempt to save and stop; it holds the reason."""
        return f"{self.attempt(number)}/stop.txt"

    def trainer(self, number: int) -> str:
        """Where the distributed trainer keeps its own records."""
        return f"{self.attempt(number)}/trainer"


class Storage:
    """One storage URL.

    Args:
        url: fsspec URL of a folder: ``file:///...``, ``s3://bucket/prefix``, ...

    Raises:
        StorageError: The URL names nothing that can be reached.
    """

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")
        try:
            self._files, root = fsspec.core.url_to_fs(self.url)
        except (ValueError, ImportError, OSError) as error:
            raise StorageError(f"cannot use storage {self.url}: {error}") from error
        self._root = root.rstrip("/")
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self.folder: Path | None = Path(self._root) if names & {"file", "local"} else None

    def path(self, name: str) -> str:
        """Return the absolute path or URL of what is stored under a relative name."""
        return str(self.folder / name) if self.folder else f"{self.url}/{name}"

    def check(self, *, need_mib: float = 64.0) -> None:
        """See that it can be written and has room.

        Args:
            need_mib: Free space that must be there; only folders can be asked.

        Raises:
            StorageError: No permission, no such place, or too little space.
        """
        probe = f"{PARTIAL}probe-{uuid4().hex}"
        with self._translated("write to"):
            if self.folder:
                self.folder.mkdir(parents=True, exist_ok=True)
            self._files.pipe_file(f"{self._root}/{probe}", b"convoy")
            self._files.rm_file(f"{self._root}/{probe}")
        free_mib = self.free_mib()
        if free_mib is not None and free_mib < need_mib:
            raise StorageError(
                f"storage {self.url} is nearly full: {free_mib:.0f} MiB free, {need_mib:.0f} MiB "
                "needed; free some space or set CONVOY_STORAGE_URL to another place"
            )

    def free_mib(self) -> float | None:
        """Return the free space, or None where that cannot be asked."""
        return shutil.disk_usage(self.folder).free / MIB if self.folder else None

    @contextmanager
    def publishing(self, name: str) -> Iterator[Path]:
        """Give an empty folder to fill, and publish it under `name` when the block ends well.

        Raises:
            StorageError: No space, no permission, or the place is taken.
        """
        beside = self.folder / Path(name).parent if self.folder else Path(tempfile.gettempdir())
        with self._translated("write to"):
            beside.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=PARTIAL, dir=beside))
        try:
            with self._translated("write to"):
                yield staging
                write_manifest(staging)
                self._move_in(staging, name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def fetch(self, name: str, *, into: Path) -> Path:
        """Return a published folder as a local one, its checksums verified.

        Args:
            name: As published.
            into: Where a copy goes when the storage is not a folder.

        Raises:
            StorageError: It is missing, or a file does not match the manifest.
        """
        if self.folder:
            local = self.folder / name
        else:
            local = into / name.replace("/", "-")
            with self._translated("read from"):
                self._files.get(f"{self._root}/{name}/", f"{local}/", recursive=True)
        verify(local)
        return local

    def put(self, source: Path, *, name: str) -> float:
        """Keep one file under `name`; return its size in MiB.

        Raises:
            StorageError: No space or no permission.
        """
        aside = f"{self._root}/{name}.{uuid4().hex[:8]}" if self.folder else f"{self._root}/{name}"
        with self._translated("write to"):
            self._files.makedirs(str(Path(aside).parent), exist_ok=True)
            self._files.put_file(str(source), aside)
            if self.folder:
                Path(aside).replace(self.folder / name)
        return source.stat().st_size / MIB

    def write_text(self, name: str, text: str) -> None:
        """Write a small file.

        Raises:
            StorageError: No space or no permission.
        """
        with self._translated("write to"):
            self._files.makedirs(f"{self._root}/{Path(name).parent.as_posix()}", exist_ok=True)
            self._files.pipe_file(f"{self._root}/{name}", text.encode())

    def read(self, name: str) -> bytes | None:
        """Return a small file's content, or None when there is none."""
        try:
            return bytes(self._files.cat_file(f"{self._root}/{name}"))
        except FileNotFoundError:
            return None

    def read_text(self, name: str) -> str | None:
        """Return a small file's text, or None when there is none."""
        content = self.read(name)
        return None if content is None else content.decode()

    def names(self, folder: str) -> list[str]:
        """Return what lies directly in a folder, relative names; nothing when it is missing."""
        try:
            found = self._files.ls(f"{self._root}/{folder}", detail=False)
        except FileNotFoundError:
            return []
        return sorted(f"{folder}/{Path(path).name}" for path in found)

    def remove(self, name: str) -> None:
        """Remove a file or folder; a missing one changes nothing.

        Raises:
            StorageError: No permission.
        """
        with self._translated("remove from"):
            if self._files.exists(f"{self._root}/{name}"):
                self._files.rm(f"{self._root}/{name}", recursive=True)

    def size_mib(self, name: str) -> float:
        """Return the size of all files of a folder."""
        with self._translated("read from"):
            return float(self._files.du(f"{self._root}/{name}")) / MIB

    def _move_in(self, staging: Path, name: str) -> None:
        if self.folder:
            staging.chmod(0o755)  # mkdtemp's is private; a cluster may read as other users
            staging.rename(self.folder / name)
            _flush(self.folder / Path(name).parent)
            return
        files = sorted(path for path in staging.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: path.name == MANIFEST):
            target = f"{self._root}/{name}/{path.relative_to(staging).as_posix()}"
            self._files.makedirs(str(Path(target).parent), exist_ok=True)
            self._files.put_file(str(path), target)

    @contextmanager
    def _translated(self, action: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise translate(error, f"cannot {action} storage {self.url}") from error


def translate(error: OSError, what: str) -> StorageError:
    """Return the error of storage that says what would help."""
    hints = {
        errno.ENOSPC: "no space is left; free some or set CONVOY_STORAGE_URL to another place",
        errno.EDQUOT: "the quota is used up; free some or set CONVOY_STORAGE_URL to another place",
        errno.EACCES: "no permission; check who owns it",
        errno.EPERM: "no permission; check who owns it",
        errno.EROFS: "it is read-only; set CONVOY_STORAGE_URL to a place that can be written",
    }
    hint = hints.get(error.errno or 0, "")
    return StorageError(f"{what}: {hint or error}" + (f" ({error})" if hint else ""))


def write_manifest(folder: Path) -> None:
    """Write the checksums of every file of a folder into it, and flush it all to the disk."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST)
    entries = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest(path)}
        for path in files
    }
    manifest = folder / MANIFEST
    manifest.write_text(json.dumps({"files": entries}, indent=1, sort_keys=True), "utf-8")
    for path in (*files, manifest, folder):
        _flush(path)


def verify(folder: Path) -> None:
    """See that a folder holds what its manifest says.

    Raises:
        StorageError: The first fault found.
    """
    try:
        entries: dict[str, dict[str, Any]] = json.loads((folder / MANIFEST).read_text("utf-8"))[
            "files"
        ]
        for name, entry in entries.items():
            path = folder / name
            if path.stat().st_size != entry["bytes"] or digest(path) != entry["sha256"]:
                raise StorageError(f"{path} does not match its checksum in {MANIFEST}")
    except FileNotFoundError as error:
        raise StorageError(f"{folder} is not whole: {error.filename} is missing") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError(f"cannot read {folder}: {error}") from error


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
