"""Which code submitted a run: version, commit and, for a changed tree, what was changed."""

from __future__ import annotations

import difflib
import hashlib
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from convoy.records import Json

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("backbones", "detection", "jobs", "platform", "dashboard", "pyproject.toml")
LIMIT_BYTES = 400_000
"""A longer difference is kept by its hash and its beginning."""


@cache
def code_version() -> dict[str, Json]:
    """Return what is needed to get this very code back.

    Returns:
        ``version``; in a git checkout also ``commit`` and ``dirty``, and for a dirty tree ``diff``
        (new files included) with its SHA-256 in ``diff_sha256`` and ``diff_cut`` when it was too
        long to be kept whole.
    """
    facts: dict[str, Json] = {"version": _version()}
    if _git("ls-files", "--error-unmatch", str(Path(__file__))) is None:
        return facts  # installed from a wheel, perhaps below a checkout of something else
    facts["commit"] = (_git("rev-parse", "HEAD") or "").strip()
    diff = (_git("diff", "HEAD", "--", *FOLDERS) or "") + _new_files()
    facts["dirty"] = bool(diff)
    if diff:
        facts["diff_sha256"] = hashlib.sha256(diff.encode()).hexdigest()
        facts["diff_cut"] = len(diff) > LIMIT_BYTES
        facts["diff"] = diff[:LIMIT_BYTES]
    return facts


def _version() -> str:
    try:
        return version("convoy")
    except PackageNotFoundError:
        return ""


def _new_files() -> str:
    """Return the files that git does not know yet as a difference from nothing."""
    names = (_git("ls-files", "--others", "--exclude-standard", "--", *FOLDERS) or "").splitlines()
    pieces = []
    for name in names:
        try:
            lines = (ROOT / name).read_text("utf-8").splitlines(keepends=True)
        except (OSError, UnicodeDecodeError):
            pieces.append(f"Binary or unreadable file b/{name}\n")
            continue
        pieces.extend(difflib.unified_diff([], lines, "/dev/null", f"b/{name}"))
    return "".join(pieces)


def _git(*words: str) -> str | None:
    """Return what git prints, or None when it fails or is missing."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *words],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
