from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import metadata
from pathlib import Path

import pytest

from convoy import doctor, probe
from convoy.doctor import Finding, Level
from convoy.errors import SettingsError
from convoy.settings import Settings, ray_token
from convoy.store import Store


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    found = Settings(home=tmp_path).resolved()
    Store.create(found.store_url).close()
    return found


def by_name(findings: Iterator[Finding]) -> dict[str, Finding]:
    return {finding.what: finding for finding in findings}


def test_a_good_installation_is_well(settings: Settings) -> None:
    found = by_name(doctor.examine(lambda: settings))
    assert {name: one.level for name, one in found.items()} == dict.fromkeys(
        (
            *("settings", "store", "clock", "dispatcher", "storage"),
            *("packages", "torch", "shared memory", "ray"),
        ),
        Level.OK,
    )
    assert metadata.version("ray") in found["ray"].found


def test_nothing_else_is_looked_at_when_the_settings_are_wrong() -> None:
    def broken() -> Settings:
        raise SettingsError("lease_s: must be at least 2")

    (finding,) = doctor.examine(broken)
    assert (finding.level, finding.what) == (Level.FAIL, "settings")
    assert "lease_s" in finding.found
    assert finding.remedy


def test_a_missing_store_fails_and_says_what_to_type(tmp_path: Path) -> None:
    (finding,) = doctor.look_at_store(f"sqlite:///{tmp_path / 'none.db'}")
    assert finding.level is Level.FAIL
    assert "platform init" in finding.remedy


@pytest.mark.parametrize(
    ("seconds", "level"), [(0.5, Level.OK), (30, Level.WARN), (-30, Level.WARN)]
)
def test_a_clock_that_is_off_is_told(seconds: float, level: Level) -> None:
    finding = doctor.look_at_clock(lambda: datetime.now(UTC) + timedelta(seconds=seconds))
    assert finding.level is level
    assert f"{-seconds:+.1f}" in finding.found


def test_storage_that_cannot_be_written_fails(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (finding,) = doctor.look_at_storage((tmp_path / "file" / "storage").as_uri())
    assert finding.level is Level.FAIL


def test_storage_with_little_room_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    free = 1000 * 2**20
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type(usage)(usage.total, 0, free))
    (finding,) = doctor.look_at_storage(tmp_path.as_uri())
    assert finding.level is Level.WARN
    assert "1,000 MiB free" in finding.found


@pytest.mark.parametrize(
    ("wanted", "says"),
    [("pydantic>=999", "pydantic>=999 (found 2"), ("no-such-package>=1", "(found none)")],
)
def test_packages_that_do_not_fit_fail(
    monkeypatch: pytest.MonkeyPatch, wanted: str, says: str
) -> None:
    monkeypatch.setattr(doctor, "requires", lambda _: [wanted, "pyyaml"])
    (finding,) = doctor.look_at_packages()
    assert finding.level is Level.FAIL
    assert says in finding.found


def test_small_shared_memory_is_warned_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: type(usage)(64 * 2**20, 0, 0))
    finding = doctor.look_at_shared_memory(tmp_path)
    assert finding.level is Level.WARN
    assert "--shm-size" in finding.remedy
    assert doctor.look_at_shared_memory(tmp_path / "none").level is Level.OK


@pytest.fixture
def cluster() -> Iterator[Callable[[str], tuple[str, int]]]:
    """Ray's REST side as it answers without a token (401), with a wrong one (403), with its own."""
    servers = []

    def serve(token: str) -> tuple[str, int]:
        class Answers(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                given = self.headers.get("Authorization")
                status = 200 if given == f"Bearer {token}" else 403 if given else 401
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Answers)
        threading.Thread(target=server.serve_forever).start()
        servers.append(server)
        return "127.0.0.1", server.server_port

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("token", "level", "says"),
    [
        ("", Level.FAIL, "asks for a token (401)"),
        ("other", Level.FAIL, "refuses our token (403)"),
        ("right", Level.OK, "lets us in"),
    ],
)
def test_a_cluster_that_wants_a_token_is_told_apart(
    cluster: Callable[[str], tuple[str, int]], token: str, level: Level, says: str
) -> None:
    finding = probe.ask(cluster("right"), token=token)
    assert finding.level is level
    assert says in finding.found


def test_a_cluster_that_does_not_answer_fails() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        finding = probe.ask(("127.0.0.1", taken.getsockname()[1]))
    assert finding.level is Level.FAIL
    assert "does not answer" in finding.found


@pytest.mark.parametrize(
    ("address", "place"),
    [
        ("head", ("head", 8265)),
        ("head:6379", ("head", 8265)),
        ("ray://head:10001", ("head", 8265)),
        ("http://head:9000", ("head", 9000)),
        ("[::1]:6379", ("::1", 8265)),
    ],
)
def test_the_rest_side_of_an_address_is_found(address: str, place: tuple[str, int]) -> None:
    assert probe.rest_address(address) == place


def test_rays_token_is_found_where_ray_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ray_token({}) == ""
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("home\n")
    (tmp_path / "other").write_text("named")
    named = {"RAY_AUTH_TOKEN_PATH": str(tmp_path / "other")}
    assert ray_token({}) == "home"
    assert ray_token(named) == "named"
    assert ray_token({**named, "RAY_AUTH_TOKEN": "given"}) == "given"
