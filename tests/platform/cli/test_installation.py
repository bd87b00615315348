from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from convoy.installation import commented_settings
from convoy.settings import Settings


def test_init_makes_home_settings_store_and_storage(command: Any, tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    answer = command("init", "--home", str(home))
    assert answer.status == 0, answer.whole
    assert (home / "convoy.toml").is_file()
    assert (home / "store.db").is_file()
    assert (home / "storage").is_dir()
    assert [line.split()[0] for line in answer.out.splitlines()] == [
        "made",
        "made",
        "ready",
        "ready",
    ]
    assert f"platform --home {home} up" in answer.err


def test_init_again_says_what_is_there_and_changes_nothing(command: Any) -> None:
    command("init")
    command("submit", "classify", "resnet18", "--set", "recipe=digits_quick")
    (command.home / "convoy.toml").write_text('owner = "bob"\n')
    answer = command("init")
    assert answer.status == 0
    assert "with 1 runs" in answer.out
    assert (command.home / "convoy.toml").read_text() == 'owner = "bob"\n'
    assert len(command("runs", "--json").json()) == 1


def test_the_home_folder_is_in_the_working_folder_when_nothing_is_said(
    command: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fresh").mkdir()
    monkeypatch.chdir(tmp_path / "fresh")
    answer = command("init", CONVOY_HOME="")
    assert answer.status == 0, answer.whole
    assert (tmp_path / "fresh" / ".convoy" / "store.db").is_file()
    assert command("runs", CONVOY_HOME="").out == "no runs\n"


def test_every_setting_of_the_file_can_be_used_as_it_stands(tmp_path: Path) -> None:
    text = commented_settings()
    lines = [line.removeprefix("# ") for line in text.splitlines() if " = " in line]
    values = tomllib.loads("\n".join(lines))
    assert set(values) == set(Settings.model_fields) - {"home"}
    Settings(home=tmp_path, **values)


def test_the_store_tells_its_version(command: Any) -> None:
    facts = command("db", "version", "--json").json()
    assert facts["store"] == f"sqlite:///{command.home / 'store.db'}"
    assert facts["version"]
    upgraded = command("db", "upgrade")
    assert f"is at version {facts['version']}" in upgraded.out


def test_the_version_of_the_platform_is_told(command: Any) -> None:
    answer = command("--version")
    assert answer.status == 0
    assert answer.out.strip().count(".") == 2


def test_help_names_every_command(command: Any) -> None:
    out = command("--help").out
    for name in (
        *("init", "submit", "runs", "show", "logs", "wait", "cancel", "retry", "up", "dispatch"),
        *("leaderboard", "methods", "networks", "describe", "dashboard", "doctor", "db"),
    ):
        assert f" {name} " in out
        assert command(name, "--help").status == 0
