"""Settings come from the environment and a file, and a wrong one is named with what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from convoy.errors import SettingsError
from convoy.settings import FILE, load


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('lease_s = 30\nowner = "ada"\n')
    found = load({"CONVOY_HOME": str(tmp_path), "CONVOY_LEASE_S": "40"})
    assert (found.lease_s, found.owner) == (40.0, "ada")


def test_empty_fields_point_into_the_home_folder(tmp_path: Path) -> None:
    found = load({"CONVOY_HOME": str(tmp_path)})
    assert found.store_url == f"sqlite:///{tmp_path / 'store.db'}"
    assert found.storage_url == (tmp_path / "storage").as_uri()
    assert found.owner


def test_the_nearest_home_folder_upwards_is_found(tmp_path: Path) -> None:
    (tmp_path / ".convoy").mkdir()
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert load({}, start=inner).home == tmp_path / ".convoy"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("leas_s = 3", "leas_s: no such field; did you mean lease_s?"),
        ("lease_s = 0.5", r"lease_s: .*greater than or equal to 2.*found 0\.5"),
        ('home = "/x"', "set CONVOY_HOME instead"),
        ("lease_s =", "cannot read"),
    ],
)
def test_a_wrong_setting_is_named_with_what_was_found(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / FILE).write_text(line)
    with pytest.raises(SettingsError, match=said):
        load({"CONVOY_HOME": str(tmp_path)})
