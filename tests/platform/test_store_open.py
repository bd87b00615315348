from __future__ import annotations

import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import psycopg
import pytest
import sqlalchemy.exc

from convoy import migrations
from convoy.errors import StoreAwayError, StoreError, StoreVersionError
from convoy.store import Store
from convoy.store.address import read_address
from convoy.store.database import Database
from convoy.store.fault import translate
from convoy.store.mount import Mount, mount_table, network_mount, read_mountinfo

MOUNTINFO = r"""
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /home rw,relatime shared:7 - nfs4 server:/home rw,vers=4.2
31 30 8:1 / /home/fast rw,relatime - xfs /dev/sdb rw
32 22 0:27 / /mnt/with\040space rw master:2 propagate_from:1 - cifs //server/share rw
33 22 0:28 / /data rw - ext4 /dev/sdc rw
34 33 0:29 / /data rw - lustre 10.0.0.1@tcp:/scratch rw
35 22 0:30 / /hosted rw - fuse.sshfs host:/ rw
36 22 0:31 / /usb rw - fuseblk /dev/sdd rw
"""


def url_of(file: Path) -> str:
    return f"sqlite:///{file}"


def test_what_is_missing_says_how_to_make_it(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    with pytest.raises(StoreError, match=r"no store at sqlite:///.*store\.db; run `platform init`"):
        Store.open(url_of(file))
    assert not file.exists()


def test_a_database_without_our_tables_says_how_to_make_them(empty_url: str) -> None:
    if empty_url.startswith("sqlite"):
        file = read_address(empty_url).file
        assert file is not None
        file.parent.mkdir()
        sqlite3.connect(file).close()
        file.touch()
    with pytest.raises(StoreError, match="holds no Convoy store; run `platform init`"):
        Store.open(empty_url)


def test_a_store_is_made_with_its_folders_and_opened(empty_url: str) -> None:
    with Store.create(empty_url) as made:
        assert re.fullmatch("[0-9a-f]{12}", made.id)
        assert made.runs() == []
    with Store.create(empty_url) as again, Store.open(empty_url) as opened:
        assert again.id == opened.id == made.id


def test_stores_have_different_names(tmp_path: Path) -> None:
    with Store.create(url_of(tmp_path / "a")) as a, Store.create(url_of(tmp_path / "b")) as b:
        assert a.id != b.id


def test_several_processes_may_make_the_same_store(empty_url: str, repository: Path) -> None:
    code = "import sys; from convoy.store import Store; print(Store.create(sys.argv[1]).id)"
    makers = [
        subprocess.Popen(
            [sys.executable, "-c", code, empty_url],
            env={"PYTHONPATH": f"{repository / 'platform'}:{repository}"},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    ids = {maker.communicate(timeout=60)[0] for maker in makers}
    assert [maker.returncode for maker in makers] == [0, 0]
    assert len(ids) == 1


def test_connections_may_race_to_a_new_file(tmp_path: Path) -> None:
    def first_look(name: str) -> None:
        together.wait(60)
        with Database(read_address(url_of(tmp_path / name)), timeout_s=30) as database:
            database.now()

    together = Barrier(8)
    with ThreadPoolExecutor(8) as pool:
        for race in range(40):
            list(pool.map(first_look, [f"{race}.db"] * 8))


def test_a_newer_store_is_left_alone(own_url: str) -> None:
    with Store.open(own_url) as store, store._writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    for door in (Store.open, Store.create):
        with pytest.raises(StoreVersionError, match=r"newer version .revision 9999, .* update"):
            door(own_url)


def test_an_older_store_says_how_to_bring_it_up_to_date(
    store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoy.store.store.revisions", lambda: ["0001", "0002"])
    with pytest.raises(StoreVersionError, match=r"older version .revision 0001.*`platform init`"):
        Store.open(store_url)


@pytest.mark.parametrize(
    "url", ["", "nonsense", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true",
            "mysql://u:secret@h/d", "postgresql+nonsense", "http://user:secret@host/"]
)  # fmt: skip
def test_what_is_no_place_for_a_store_is_refused(url: str) -> None:
    with pytest.raises(StoreError, match=r"sqlite:////folder/store.db") as caught:
        Store.open(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    file.write_text("this is a diary, " * 100)
    for door in (Store.open, Store.create):
        with pytest.raises(StoreError, match="is not a database file; move it away"):
            door(url_of(file))
    assert file.read_text().startswith("this is a diary")


def test_a_damaged_file_says_how_to_look_at_it(tmp_path: Path) -> None:
    file = tmp_path / "store.db"
    Store.create(url_of(file)).close()
    pages = bytearray(file.read_bytes())
    pages[4096:] = b"\xff" * (len(pages) - 4096)
    file.write_bytes(pages)
    with pytest.raises(StoreError, match="is damaged; look with `sqlite3"):
        Store.open(url_of(file))


def test_a_full_disk_says_so_and_leaves_nothing_half_done(tmp_path: Path, new_run: Any) -> None:
    with Store.create(url_of(tmp_path / "store.db")) as store:
        with store._writing() as connection:  # the pool gives this one connection to all below
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 5}").close()
        with pytest.raises(StoreError, match="the disk is full; free some space"):
            store.submit([new_run()] * 1000)
        assert store.runs() == []
        store.submit([new_run()])


def test_a_folder_in_the_place_of_the_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(url_of(tmp_path))


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"folder of sqlite.*CONVOY_HOME"):
        Store.create(url_of(tmp_path / "file" / "store.db"))


def test_a_store_that_is_locked_for_too_long_says_so(tmp_path: Path) -> None:
    Store.create(url_of(tmp_path / "store.db")).close()
    with (
        Store.open(url_of(tmp_path / "store.db")) as one,
        Store.open(url_of(tmp_path / "store.db"), timeout_s=0.2) as other,
        one._writing(),
    ):
        assert other.runs() == [], "readers are not locked out"
        with pytest.raises(StoreAwayError, match=r"locked by another process for longer than 0.2"):
            other.lead("a", host="h", pid=1, capacity={}, lease_s=1)


def test_a_lock_of_postgresql_is_waited_for_only_so_long(
    postgres: Any, postgres_shared: str, new_run: Any
) -> None:
    url = postgres.url(postgres_shared)
    with (
        Store.open(url) as one,
        Store.open(url, timeout_s=0.3) as other,
    ):
        [run] = one.submit([new_run()])
        with one._writing() as connection:
            connection.exec_driver_sql("SELECT id FROM runs FOR UPDATE")
            with pytest.raises(StoreAwayError, match=r"did not give a lock within 0.3 s"):
                other.request_cancel(run.id)


WRITER = """
import os, sys
from convoy.errors import StoreError
from convoy.store import Store
Store.open(sys.argv[1]).close()  # imports all that is needed, while it can be read
if os.geteuid() == 0:
    os.seteuid(65534)  # permissions do not bind root
try:
    Store.open(sys.argv[1]).lead("a", host="h", pid=1, capacity={}, lease_s=1)
except StoreError as error:
    print(error)
"""


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder that any user of this machine can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_store_that_may_not_be_written_is_refused(
    open_to_all: Path, repository: Path, what: str
) -> None:
    file = open_to_all / "store.db"
    Store.create(url_of(file)).close()
    file.chmod(0o444 if what == "file" else 0o666)
    open_to_all.chmod(0o555 if what == "folder" else 0o777)
    found = subprocess.run(
        [sys.executable, "-c", WRITER, url_of(file)],
        env={"PYTHONPATH": f"{repository / 'platform'}:{repository}"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.search("is read-only; make the file and its folder writable", found.stdout)


def test_a_server_that_is_not_there_is_away() -> None:
    with pytest.raises(StoreAwayError, match="does not answer") as caught:
        Store.open("postgresql://ada:secret@127.0.0.1:1/store?password=secret2", timeout_s=2)
    assert "ada" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_database_that_does_not_exist_says_how_to_make_it(postgres: Any) -> None:
    with pytest.raises(StoreError, match="has no such database; make it with `createdb`"):
        Store.open(postgres.url("never_made"))


def test_a_wrong_password_is_named_but_not_shown(postgres: Any) -> None:
    database = "postgres"
    postgres.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
    rules = postgres.server.pgdata / "pg_hba.conf"
    rules.write_text(f"local {database} locked scram-sha-256\n" + rules.read_text())
    postgres.execute("SELECT pg_reload_conf()")
    for secret in (":wrong", ""):
        url = postgres.url(database).replace("postgres:@", f"locked{secret}@")
        with pytest.raises(StoreError, match="refuses this user or password") as caught:
            Store.open(url)
        assert "wrong" not in str(caught.value)


def test_missing_rights_are_named(postgres: Any, postgres_shared: str) -> None:
    postgres.execute("CREATE ROLE stranger LOGIN")
    url = postgres.url(postgres_shared).replace("postgres:@", "stranger@")
    with pytest.raises(StoreError, match="does not give this user the rights"):
        Store.open(url)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/ada/store.db", "nfs4"),
        ("/home/fast/store.db", None),
        ("/homes/store.db", None),
        ("/mnt/with space/deep/store.db", "cifs"),
        ("/data/store.db", "lustre"),
        ("/hosted/store.db", "fuse.sshfs"),
        ("/usb/store.db", None),
        ("/srv/store.db", None),
    ],
)
def test_the_longest_and_latest_mount_tells_the_file_system(path: str, kind: str | None) -> None:
    found = network_mount(Path(path), read_mountinfo(MOUNTINFO))
    assert (found.kind if found else None) == kind


def test_a_link_to_a_network_file_system_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "net")
    mounts = [Mount(Path("/"), "ext4"), Mount((tmp_path / "net").resolve(), "NFS")]
    assert network_mount(tmp_path / "link" / "store.db", mounts) is not None
    assert network_mount(tmp_path / "store.db", mounts) is None


def test_this_machines_mount_table_can_be_read(tmp_path: Path) -> None:
    assert Mount(Path("/"), next(m.kind for m in mount_table() if m.point == Path("/")))
    assert network_mount(tmp_path, mount_table()) is None


def test_sqlite_on_a_network_file_system_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = [Mount(Path("/"), "ext4"), Mount(tmp_path.resolve(), "nfs4")]
    monkeypatch.setattr("convoy.store.store.mount_table", lambda: mounts)
    for door in (Store.open, Store.create):
        with pytest.raises(StoreError, match=r"network file system \(nfs4 at .*PostgreSQL"):
            door(url_of(tmp_path / "store.db"))
    assert list(tmp_path.iterdir()) == []


def every(root: type[Exception]) -> list[type[Exception]]:
    found = [root]
    for kind in root.__subclasses__():
        found += every(kind)
    return sorted(set(found), key=lambda kind: kind.__name__)


def made(kind: type[Exception]) -> Exception:
    """An error as SQLAlchemy or a driver would raise it."""
    if issubclass(kind, sqlalchemy.exc.DBAPIError):
        return kind("SELECT 1", {}, Exception("found"))
    if issubclass(kind, sqlalchemy.exc.StatementError):
        return kind("found", "SELECT 1", {}, None)
    error = kind.__new__(kind)
    Exception.__init__(error, "found")
    return error


def test_no_error_of_sqlalchemy_leaks(long_store: Store) -> None:
    for kind in every(sqlalchemy.exc.SQLAlchemyError):
        with pytest.raises(StoreError, match=r"the store .*found"), long_store._reading():
            raise made(kind)


def test_every_error_of_a_driver_becomes_ours() -> None:
    address = read_address("postgresql://ada:secret@host/store")
    for kind in [*every(sqlite3.Error), *every(psycopg.Error)]:
        wrapped = sqlalchemy.exc.DBAPIError("SELECT 1", {}, made(kind))
        ours = translate(wrapped, address, timeout_s=1.0)
        assert isinstance(ours, StoreError)
        assert str(ours).startswith("the store postgresql://ada:***@host/store "), kind


def test_opening_a_store_imports_no_alembic(store_url: str, repository: Path) -> None:
    code = (
        "import sys; from convoy.store import Store; Store.open(sys.argv[1]).runs();"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code, store_url],
        env={"PYTHONPATH": f"{repository / 'platform'}:{repository}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    assert not {"alembic", "torch", "ray", "streamlit"} & set(loaded)
    assert ("psycopg" in loaded) == store_url.startswith("postgresql")


def test_revisions_are_numbered_without_a_gap() -> None:
    known = migrations.revisions()
    assert known == [f"{number:04}" for number in range(1, len(known) + 1)]
