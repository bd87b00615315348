"""Looks at an installation and says what is wrong with it and what would do."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from convoy.errors import ConvoyError
from convoy.settings import Settings

SKEW_S = 2.0
"""Clocks that differ by more make leases and ages look wrong."""
SPACE_MIB = 2048
SHARED_MIB = 256
"""Ray's object store and data-loader processes hand each other tensors here."""


class Level(StrEnum):
    """How a finding is to be taken."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes:
        level: How bad it is.
        what: What was looked at.
        found: What was found.
        remedy: What to do; empty when it is well.
    """

    level: Level
    what: str
    found: str
    remedy: str = ""


def examine(read_settings: Callable[[], Settings], *, token: str = "") -> Iterator[Finding]:
    """Look at everything, one finding after the other.

    Args:
        read_settings: Reads the settings; SettingsError when they are wrong.
        token: Ray's token, when one is known.
    """
    try:
        settings = read_settings()
    except ConvoyError as error:
        yield Finding(Level.FAIL, "settings", str(error), "correct the value that is named")
        return
    yield Finding(Level.OK, "settings", f"home {settings.home}, owner {settings.owner}")
    yield from look_at_store(settings.store_url)
    yield from look_at_storage(settings.storage_url)
    yield from look_at_packages()
    yield look_at_torch()
    yield look_at_shared_memory()
    from convoy.probe import look_at_ray

    yield from look_at_ray(settings.ray_address, token=token)


def look_at_store(url: str) -> Iterator[Finding]:
    """Open the store; look at its version, its clock and its dispatchers."""
    from convoy.migrations import revisions
    from convoy.store import Store
    from convoy.store.address import read_address

    try:
        with Store.open(url) as store:
            shown = read_address(url).shown
            yield Finding(Level.OK, "store", f"{shown}, version {revisions()[-1]}, id {store.id}")
            yield look_at_clock(store.now)
            names = [one.name for one in store.dispatchers() if one.alive]
            waiting = sum(n for state, n in store.counts().items() if not state.is_final)
    except ConvoyError as error:
        yield Finding(Level.FAIL, "store", str(error), "platform init makes or upgrades one")
        return
    if names or not waiting:
        yield Finding(Level.OK, "dispatcher", ", ".join(names) or "none runs, and no run waits")
    else:
        yield Finding(Level.WARN, "dispatcher", f"none runs, {waiting} runs wait", "platform up")


def look_at_clock(store_clock: Callable[[], datetime]) -> Finding:
    """Compare this machine's clock with the database's, half the round trip taken off."""
    before = time.monotonic()
    theirs = store_clock()
    ours = datetime.now(UTC)
    skew_s = (ours - theirs).total_seconds() - (time.monotonic() - before) / 2
    found = f"{skew_s:+.2f} s from the database's"
    if abs(skew_s) <= SKEW_S:
        return Finding(Level.OK, "clock", found)
    return Finding(Level.WARN, "clock", found, "let both machines follow a time server (NTP)")


def look_at_storage(url: str) -> Iterator[Finding]:
    """Write to the storage, and look how much room it has."""
    from convoy.storage import Storage

    try:
        storage = Storage(url)
        storage.check()
        free_mib = storage.free_mib()
    except ConvoyError as error:
        yield Finding(Level.FAIL, "storage", str(error), "set storage_url in convoy.toml")
        return
    if free_mib is None:
        yield Finding(Level.OK, "storage", f"{url}, can be written")
    elif free_mib < SPACE_MIB:
        yield Finding(
            Level.WARN, "storage", f"{url}, {free_mib:,.0f} MiB free", "free some space there"
        )
    else:
        yield Finding(Level.OK, "storage", f"{url}, {free_mib / 1024:,.0f} GiB free")


def look_at_packages() -> Iterator[Finding]:
    """Compare installed packages with what this version asks for."""
    from packaging.requirements import Requirement

    try:
        wanted = [Requirement(text) for text in requires("convoy") or ()]
    except PackageNotFoundError:
        yield Finding(
            Level.WARN,
            "packages",
            "convoy itself is not installed",
            "pip install -e . in its folder",
        )
        return
    have = {one.name: _version(one.name) for one in wanted}
    wrong = [
        f"{one} (found {have[one.name] or 'none'})"
        for one in wanted
        if not have[one.name] or not one.specifier.contains(have[one.name], prereleases=True)
    ]
    if wrong:
        yield Finding(
            Level.FAIL, "packages", f"do not fit: {', '.join(wrong)}", "make, or pip install -e ."
        )
    else:
        yield Finding(Level.OK, "packages", f"all {len(wanted)} fit, {_named(have)}")


def look_at_torch() -> Finding:
    """Load torch and ask for its GPUs."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return Finding(Level.FAIL, "torch", f"cannot be loaded: {error}", "install it again")
    cores = torch.get_num_threads()
    if not torch.cuda.is_available():
        return Finding(Level.OK, "torch", f"{torch.__version__}, no GPU here, {cores} threads")
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return Finding(
        Level.OK, "torch", f"{torch.__version__}, CUDA {torch.version.cuda}, {', '.join(names)}"
    )


def look_at_shared_memory(folder: Path = Path("/dev/shm")) -> Finding:
    """Look at the size of shared memory, which is tiny in containers by default."""
    if not folder.is_dir():
        return Finding(Level.OK, "shared memory", "this system has no /dev/shm")
    total_mib = shutil.disk_usage(folder).total / 2**20
    found = f"{total_mib:,.0f} MiB"
    if total_mib >= SHARED_MIB:
        return Finding(Level.OK, "shared memory", found)
    return Finding(
        Level.WARN, "shared memory", found, "start the container with --shm-size=2g or more"
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _named(have: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {have[name]}" for name in ("torch", "timm", "ray") if have.get(name))
