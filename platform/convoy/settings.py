"""Settings: the only module that reads the environment.

Where the home folder is: ``CONVOY_HOME``, else the nearest folder ``.convoy`` in the working
folder or above it, else
``~/.convoy``. In it ``convoy.toml`` may set any field below (but `home`); an environment variable
``CONVOY_<FIELD>`` wins over it.
"""

from __future__ import annotations

import getpass
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from convoy.errors import SettingsError
from jobs.job import explain

FILE = "convoy.toml"


class Settings(BaseModel):
    """One frozen object, made at start and passed on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    home: Path = Field(description="Folder of this installation's state.")
    store_url: str = Field(
        "", description="SQLAlchemy URL of the store; empty: SQLite in the home folder."
    )
    storage_url: str = Field(
        "",
        description="fsspec URL of checkpoints and artifacts; empty: `storage` in the home folder.",
    )
    cache: Path | None = Field(
        None,
        description="Folder for embedded data and verdicts of data checks; "
        "None: `cache` in the home folder.",
    )
    owner: str = Field("", description="Who submits; empty: the user's login name.")
    ray_address: str = Field(
        "local", description="`local` starts Ray here; else the address of a cluster."
    )
    cpus: float | None = Field(None, gt=0, description="Cores that local Ray may use; None: all.")
    lease_s: float = Field(20.0, ge=2, description="Seconds after which a silent attempt is lost.")
    placing_s: float = Field(
        120.0, gt=0, description="Seconds that a claimed attempt has to show itself."
    )
    progress_s: float = Field(
        1800.0,
        gt=0,
        description="Seconds without a step, or another word of what it does, after which an "
        "attempt is ended.",
    )
    poll_s: float = Field(0.5, gt=0, description="Pause between two rounds of the dispatcher.")
    dashboard_port: int = Field(
        8501, ge=1, le=65535, description="Port of the dashboard, on loopback."
    )
    keep_checkpoints: int = Field(
        2, ge=1, description="Checkpoints kept of a run; the newest ones."
    )

    def resolved(self) -> Settings:
        """Return the settings with every empty field filled in."""
        return self.model_copy(
            update={
                "store_url": self.store_url or f"sqlite:///{self.home / 'store.db'}",
                "storage_url": self.storage_url or (self.home / "storage").as_uri(),
                "cache": self.cache or self.home / "cache",
                "owner": self.owner or getpass.getuser(),
            }
        )


def find_home(environment: Mapping[str, str], start: Path) -> Path:
    """Return the home folder (which need not exist yet)."""
    if named := environment.get("CONVOY_HOME"):
        return Path(named).expanduser().absolute()
    for folder in (start, *start.parents):
        if (folder / ".convoy").is_dir():
            return folder / ".convoy"
    return Path("~/.convoy").expanduser()


def load(
    environment: Mapping[str, str] | None = None,
    start: Path | None = None,
    *,
    home: Path | None = None,
) -> Settings:
    """Read the settings.

    Args:
        environment: Variables; the process's own by default.
        start: Folder from which `.convoy` is looked for; the working folder by default.
        home: The home folder, when it is known already.

    Raises:
        SettingsError: A value is unknown or out of range; its place is named.
    """
    environment = os.environ if environment is None else environment
    home = home.expanduser().absolute() if home else find_home(environment, start or Path.cwd())
    values: dict[str, Any] = {**_from_file(home / FILE), **_from_environment(environment)}
    try:
        return Settings(home=home, **values).resolved()
    except ValidationError as error:
        faults = explain(error, Settings).replace("\n", "; ")
        raise SettingsError(
            f"settings are wrong ({home / FILE} or CONVOY_* variables): {faults}"
        ) from error


def ray_token(environment: Mapping[str, str] | None = None) -> str:
    """Return the token with which Ray's own clients would ask, in their order; empty without one.

    Args:
        environment: Variables; the process's own by default.
    """
    environment = os.environ if environment is None else environment
    if token := environment.get("RAY_AUTH_TOKEN"):
        return token.strip()
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    file = Path(named or "~/.ray/auth_token").expanduser()
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _from_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        values = tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, OSError) as error:
        raise SettingsError(f"cannot read {file}: {error}") from error
    if "home" in values:
        raise SettingsError(f"{file} sets home; set CONVOY_HOME instead")
    return values


def _from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    names = {f"CONVOY_{name.upper()}": name for name in Settings.model_fields if name != "home"}
    return {field: environment[name] for name, field in names.items() if environment.get(name)}
