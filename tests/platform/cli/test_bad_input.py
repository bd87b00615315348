"""Each kind of bad input: the message says what was found and what would do; nothing is left."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from convoy.store import Store
from convoy.store.mount import Mount

QUICK = ("--set", "data=digits", "--set", "recipe=digits_quick")
ECA = "resnet18(stem=small)/eca"
GOOD = ("submit", "classify", ECA, *QUICK)


def count(command: Any) -> int:
    return len(command("runs", "--json").json())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        pytest.param(("classify", "resnet19/eca", *QUICK), ("resnet19", "resnet18"), id="network"),
        pytest.param(("classify", "resnet18/ecaa", *QUICK), ("ecaa", "eca"), id="method"),
        pytest.param(("classify", "resnet18/eca(gama=2)", *QUICK), ("gama", "gamma"), id="setting"),
        pytest.param(
            ("classify", "resnet18/eca(gamma=-1)", *QUICK),
            ("gamma", "greater than or equal to 0.1", "-1"),
            id="setting-range",
        ),
        pytest.param(
            ("classify", "resnet18/eca(", *QUICK), ("resnet18/eca(", "example"), id="text"
        ),
        pytest.param(
            ("classify", ECA, "--set", "recipe=digits_quik"),
            ("digits_quik", "digits_quick"),
            id="recipe",
        ),
        pytest.param(
            ("classify", ECA, "--set", "recipe=digits_quick", "--set", "recipe.epochs=0"),
            ("recipe.epochs", "greater than or equal to 1"),
            id="recipe-range",
        ),
        pytest.param(
            ("classify", ECA, "--set", "recipe=digits_quick", "--set", "recipe.epoch=3"),
            ("recipe.epoch", "no such field"),
            id="recipe-field",
        ),
        pytest.param(("clasify", ECA, *QUICK), ("clasify", "classify"), id="kind"),
        pytest.param(("classify", ECA, *QUICK, "--set", "sede=1"), ("sede", "seed"), id="field"),
        pytest.param(("classify", *QUICK), ("backbone", "missing"), id="field-missing"),
        pytest.param(
            ("classify", "vgg16_bn/eca", *QUICK),
            ("vgg16_bn/eca", "nothing to replace", "offers none"),
            id="sites",
        ),
        pytest.param(("classify", ECA, "--set", "data"), ("--set 'data'", "key=value"), id="set"),
        pytest.param(
            ("classify", ECA, *QUICK, "--workers", "0"), ("workers is 0", "from 1"), id="workers"
        ),
        pytest.param(
            ("classify", ECA, *QUICK, "--workers", "3"),
            ("3 workers cannot share batch_size", "workers can"),
            id="workers-share",
        ),
        pytest.param(("classify", ECA, *QUICK, "--after", "99"), ("99", "no run"), id="dependency"),
        pytest.param(("classify", ECA, *QUICK, "--seeds", "a"), ("'a'", "0,1,2"), id="seeds"),
        pytest.param(("classify", ECA, ECA, *QUICK), ("the same experiment", "twice"), id="twice"),
        pytest.param(
            ("classify", ECA, "--file", "none.yaml"), ("none.yaml", "cannot read"), id="file"
        ),
    ],
)
def test_a_wrong_submission_is_refused(
    command: Any, words: tuple[str, ...], says: tuple[str, ...]
) -> None:
    answer = command("submit", *words)
    assert answer.status == 1, answer.whole
    assert answer.out == ""
    assert answer.err.startswith("error: ")
    assert "Traceback" not in answer.err
    for text in says:
        assert text in answer.err
    assert count(command) == 0


def test_a_number_that_is_none_is_a_usage_error(command: Any) -> None:
    answer = command("submit", "classify", ECA, *QUICK, "--workers", "two")
    assert answer.status == 2
    assert "workers" in answer.err
    assert count(command) == 0


def test_an_unknown_command_names_near_ones(command: Any) -> None:
    answer = command("submitt")
    assert answer.status == 2
    assert "submit" in answer.err


def make_images(folder: Path, splits: dict[str, tuple[str, ...]]) -> Path:
    for split, labels in splits.items():
        (folder / split).mkdir(parents=True)
        for label in labels:
            (folder / split / label).mkdir()
            (folder / split / label / "0.png").write_bytes(b"not looked at here")
    return folder


@pytest.mark.parametrize(
    ("splits", "says"),
    [
        pytest.param(None, ("no data folder", "train"), id="missing"),
        pytest.param({}, ("it is empty", "train"), id="empty"),
        pytest.param({"train": ("cat",)}, ("no folder val",), id="no-val"),
        pytest.param({"train": (), "val": ()}, ("train",), id="no-classes"),
        pytest.param(
            {"train": ("cat", "dog"), "val": ("cat", "cow")}, ("dog", "cow"), id="classes-differ"
        ),
    ],
)
def test_data_that_cannot_be_used_are_refused(
    command: Any,
    tmp_path: Path,
    splits: dict[str, tuple[str, ...]] | None,
    says: tuple[str, ...],
) -> None:
    folder = tmp_path / "images"
    if splits is not None:
        folder.mkdir()
        make_images(folder, splits)
    sets = ("--set", f"data={folder}", "--set", "recipe=digits_quick")
    answer = command("submit", "classify", ECA, *sets)
    assert answer.status == 1, answer.whole
    assert str(folder) in answer.err
    for text in says:
        assert text in answer.err
    assert count(command) == 0


def test_a_relative_data_folder_means_the_same_for_the_attempt(
    command: Any, tmp_path: Path
) -> None:
    make_images(tmp_path / "images", {"train": ("cat",), "val": ("cat",)})
    sets = ("--set", "data=images", "--set", "recipe=digits_quick")
    assert command("submit", "classify", ECA, *sets).status == 0
    assert command("show", "1", "--json").json()["spec"]["data"] == str(tmp_path / "images")


def test_a_key_with_another_spec_is_refused(command: Any) -> None:
    assert command(*GOOD, "--key", "k").status == 0
    answer = command(*GOOD, "--key", "k", "--set", "seed=1")
    assert answer.status == 1
    assert "'k'" in answer.err
    assert count(command) == 1


@pytest.mark.parametrize("verb", ["show", "logs", "cancel", "retry", "wait"])
def test_a_run_that_does_not_exist_is_named(command: Any, verb: str) -> None:
    answer = command(verb, "7")
    assert answer.status == 1
    assert "no run 7" in answer.err


def test_cancelling_a_finished_run_is_refused(
    command: Any, attempts: Any, result: Callable[..., dict[str, Any]]
) -> None:
    command(*GOOD)
    attempts.succeed(1, result(90.0))
    answer = command("cancel", "1")
    assert answer.status == 1
    assert "run 1 is succeeded already" in answer.err
    assert command("show", "1", "--json").json()["state"] == "succeeded"


def test_of_several_runs_those_that_can_be_cancelled_are(
    command: Any, attempts: Any, result: Callable[..., dict[str, Any]]
) -> None:
    command(*GOOD, "--seeds", "0,1")
    attempts.succeed(1, result(90.0))
    answer = command("cancel", "1", "2")
    assert answer.status == 1
    assert "run 2 is cancelled" in answer.out
    assert "run 1" in answer.err


def test_waiting_for_what_has_failed_is_refused(command: Any, attempts: Any) -> None:
    command(*GOOD)
    command("cancel", "1")
    answer = command(*GOOD, "--set", "seed=1", "--after", "1")
    assert answer.status == 1
    assert "platform retry 1" in answer.err
    assert count(command) == 1


def test_a_missing_store_says_how_to_make_one(command: Any) -> None:
    (command.home / "store.db").unlink()
    answer = command("runs")
    assert answer.status == 1
    assert "platform init" in answer.err


def test_a_store_of_a_newer_version_is_refused(command: Any) -> None:
    with sqlite3.connect(command.home / "store.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    for words in (("runs",), GOOD, ("init",), ("db", "upgrade")):
        answer = command(*words)
        assert answer.status == 1
        assert "newer version" in answer.err
        assert "9999" in answer.err


def test_a_locked_store_is_waited_for_and_then_named(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain_open = Store.open
    monkeypatch.setattr(Store, "open", lambda url: plain_open(url, timeout_s=0.3))
    holder = sqlite3.connect(command.home / "store.db", isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    answer = command(*GOOD)
    holder.execute("ROLLBACK")
    holder.close()
    assert answer.status == 1
    assert "locked" in answer.err
    assert count(command) == 0


WITHOUT_RIGHTS = """
import os, sys
from convoy.cli import app

home, words = sys.argv[1], sys.argv[2:]
try:
    app(["--home", home, *words])  # as ourselves, which loads all that is needed
except SystemExit as ended:
    assert not ended.code
os.chmod(f"{home}/store.db", 0o444)
if os.geteuid() == 0:
    os.seteuid(65534)  # rights do not bind root
app(["--home", home, *words, "--set", "seed=1"])
"""


@pytest.fixture
def open_home(command: Any) -> Iterator[Path]:
    """A home folder that any user of this machine can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    shutil.copy(command.home / "store.db", folder)
    yield folder
    shutil.rmtree(folder)


def test_a_read_only_store_is_named(open_home: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS, str(open_home), *GOOD],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert str(open_home / "store.db") in done.stderr
    assert "is read-only; make the file and its folder writable" in done.stderr
    with Store.open(f"sqlite:///{open_home / 'store.db'}") as store:
        assert len(store.runs()) == 1


def test_a_store_that_cannot_be_reached_is_named_without_its_password(command: Any) -> None:
    url = "postgresql://ada:secret@127.0.0.1:1/convoy"
    answer = command("runs", CONVOY_STORE_URL=url)
    assert answer.status == 1
    assert "127.0.0.1:1" in answer.err
    assert "secret" not in answer.err


def test_a_store_on_a_network_file_system_is_refused(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = [Mount(Path("/"), "ext4"), Mount(command.home, "nfs4")]
    monkeypatch.setattr("convoy.store.store.mount_table", lambda: table)
    for words in (("runs",), ("init",)):
        answer = command(*words)
        assert answer.status == 1
        assert "nfs4" in answer.err
        assert "PostgreSQL" in answer.err


def test_storage_below_a_file_is_refused_at_init(command: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    answer = command("init", CONVOY_STORAGE_URL=f"file://{tmp_path}/file/storage")
    assert answer.status == 1
    assert f"{tmp_path}/file/storage" in answer.err


def test_storage_without_space_is_refused_at_init(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(command.home)
    monkeypatch.setattr("shutil.disk_usage", lambda _: type(usage)(usage.total, usage.total, 0))
    answer = command("init")
    assert answer.status == 1
    assert "free" in answer.err


def test_a_disk_that_fills_up_while_writing_is_named(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", full)
    answer = command("init")
    assert answer.status == 1
    assert "storage" in answer.err
    assert "Traceback" not in answer.err


def test_wrong_settings_are_named(command: Any) -> None:
    (command.home / "convoy.toml").write_text("lease_s = 0.1\nlaese_s = 3\n")
    answer = command("runs")
    assert answer.status == 1
    assert "lease_s" in answer.err
    assert "laese_s" in answer.err


def test_a_fault_of_our_own_is_one_line_and_its_details_are_kept(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(url: str) -> Store:
        raise ZeroDivisionError(url)

    monkeypatch.setattr(Store, "open", broken)
    answer = command("runs")
    assert answer.status == 1
    assert "unexpected ZeroDivisionError" in answer.err
    assert "Traceback" not in answer.err
    (kept,) = command.home.glob("error-*.txt")
    assert str(kept) in answer.err
    assert "Traceback" in kept.read_text()


def test_debug_shows_the_traceback(command: Any) -> None:
    done = command.apart("--debug", "show", "7")
    assert done.status == 1
    assert "Traceback" in done.err
    assert "error: " in done.err


def test_a_closed_pipe_is_no_error(command: Any) -> None:
    line = f"{sys.executable} -m convoy networks | head -1"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count("\n") == 1
    assert done.stderr == ""
