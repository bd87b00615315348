"""Makes what an installation needs: home folder, settings file, store, storage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from convoy.errors import SettingsError
from convoy.settings import FILE, Settings, load

_EXAMPLES = {"cache": '"/var/cache/convoy"', "cpus": "4"}
"""For settings without a default that could be written down."""


def install(home: Path) -> Iterator[str]:
    """Make what is missing, step by step.

    Args:
        home: The home folder, absolute.

    Yields:
        What was made, or found, in a line each.

    Raises:
        SettingsError: The home folder or its settings file cannot be written, or is wrong.
        StoreError: The store cannot be made or brought up to date.
        StorageError: The storage cannot be written.
    """
    yield _make_home(home)
    yield _write_file(home / FILE)
    settings = load(home=home)
    yield _make_store(settings.store_url)
    yield _make_storage(settings.storage_url)


def commented_settings() -> str:
    """Return a settings file in which every field stands with its meaning, commented out."""
    lines = [
        "# Settings of this installation. Remove the # to change one;",
        "# a variable CONVOY_<NAME> in the environment wins over this file.",
    ]
    for name, field in Settings.model_fields.items():
        if name != "home":
            value = _EXAMPLES.get(name) or _toml(field.default)
            lines += ["", f"# {field.description}", f"# {name} = {value}"]
    return "\n".join(lines) + "\n"


def _make_home(home: Path) -> str:
    if home.is_dir():
        return f"found {home}"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingsError(
            f"cannot make the home folder {home}: {error.strerror}; choose another with --home"
        ) from error
    return f"made  {home}"


def _write_file(file: Path) -> str:
    if file.exists():
        return f"found {file}"
    try:
        file.write_text(commented_settings(), "utf-8")
    except OSError as error:
        raise SettingsError(f"cannot write {file}: {error.strerror}") from error
    return f"made  {file} (every setting, commented)"


def _make_store(url: str) -> str:
    from convoy.store import Store
    from convoy.store.address import read_address

    shown = read_address(url).shown
    with Store.create(url) as store:
        count = sum(store.counts().values())
    return f"found store {shown} with {count} runs" if count else f"ready store {shown}"


def _make_storage(url: str) -> str:
    from convoy.storage import Storage

    storage = Storage(url)
    storage.check()
    return f"ready storage {storage.folder or url}"


def _toml(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)
