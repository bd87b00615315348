"""Asks Ray, without joining it, whether it is there and lets us in."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from convoy.doctor import Finding, Level

DASHBOARD_PORT = 8265
TIMEOUT_S = 5.0
PATH = "/api/version"
OK, UNAUTHORISED, FORBIDDEN = 200, 401, 403


def look_at_ray(address: str, *, token: str = "") -> Iterator[Finding]:
    """Look at Ray's version and, when an address is set, at its REST side.

    Joining with a wrong token fails after 20 s with no word about tokens; REST says it at once.

    Args:
        address: ``local``, or where the cluster is: ``host``, ``ray://host:port``,
            ``http://host:8265``.
        token: The cluster's token, when one is known.
    """
    try:
        installed = version("ray")
    except PackageNotFoundError:
        yield Finding(Level.FAIL, "ray", "is not installed", "make, or pip install -e .")
        return
    if address in {"", "local"}:
        yield Finding(Level.OK, "ray", f"{installed}, started here when it is needed")
        return
    yield Finding(Level.OK, "ray", f"{installed} here, cluster {address}")
    yield ask(rest_address(address), token=token)


def rest_address(address: str) -> tuple[str, int]:
    """Return host and port of the REST side of a cluster's address."""
    parts = urlsplit(address if "://" in address else f"//{address}")
    is_rest = parts.scheme in {"http", "https"} and parts.port
    return parts.hostname or address, parts.port if is_rest and parts.port else DASHBOARD_PORT


def ask(place: tuple[str, int], *, token: str = "") -> Finding:
    """Ask the REST side of a cluster for its version."""
    host, port = place
    where = f"http://{host}:{port}"
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        connection.request("GET", PATH, headers=headers)
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        remedy = "see that the head node runs with its dashboard on, and that this port is open"
        return Finding(Level.FAIL, "ray cluster", f"{where} does not answer: {error}", remedy)
    finally:
        connection.close()
    return _judge(status, where)


def _judge(status: int, where: str) -> Finding:
    answers = {
        OK: (Level.OK, "answers and lets us in", ""),
        UNAUTHORISED: (
            Level.FAIL,
            "asks for a token (401)",
            "put the cluster's token into ~/.ray/auth_token, or its path in RAY_AUTH_TOKEN_PATH",
        ),
        FORBIDDEN: (
            Level.FAIL,
            "refuses our token (403)",
            "it is of another cluster: copy the head node's token to ~/.ray/auth_token",
        ),
    }
    level, words, remedy = answers.get(
        status, (Level.WARN, f"answers with status {status}", "is it Ray's dashboard?")
    )
    return Finding(level, "ray cluster", f"{where} {words}", remedy)
