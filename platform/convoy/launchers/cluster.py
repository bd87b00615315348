"""Starts attempts as named actors on Ray: on a local cluster of its own, or on one that is there.

On a cluster that is there attempts are detached: neither dispatcher nor terminal must stay. On a
local one they end with it, and go on from their checkpoints on the next.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import ray
from ray.exceptions import RayError
from ray.util import list_named_actors, placement_group_table
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from convoy.errors import LaunchError
from convoy.launchers import Node, Order
from convoy.settings import Settings
from jobs.job import Resources

LOCAL = "local"
LONGEST_FOLDER = 40
"""Ray's sockets lie 64 characters below this folder, and their paths may have 107."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Paths are passed, never tensors."""
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",  # by default workers are nice to everything, latency runs too
}


class AttemptActor:
    """The process of one attempt."""

    def execute(self, order: Order) -> None:
        """Carry the attempt out and leave."""
        from convoy.execution.attempt import execute
        from convoy.launchers.gang import run_gang

        try:
            execute(order, gang=run_gang)
        finally:
            ray.actor.exit_actor()  # type: ignore[no-untyped-call]  # Ray's, without types


class ClusterLauncher:
    """A launcher on Ray.

    Args:
        settings: Where the cluster is (`ray_address`), and what a local one may use and where it
            keeps its files.
        store_id: Attempts of different stores never meet: it is part of the namespace.

    Raises:
        LaunchError: Ray does not start, or the cluster does not answer.
    """

    def __init__(self, settings: Settings, *, store_id: str) -> None:
        address = settings.ray_address
        self._local = address == LOCAL
        self._namespace = f"convoy-{store_id}"
        self._handles: dict[str, Any] = {}
        self._folder = ray_folder(settings.home) if self._local else None
        os.environ.update(SETTINGS)
        common: dict[str, Any] = {
            "address": address,
            "namespace": self._namespace,
            "log_to_driver": False,
            "configure_logging": False,
        }
        if self._folder is not None:
            sweep_folders(self._folder.parent)
            common |= {
                "include_dashboard": True,  # without it a killed trainer keeps its resources
                "dashboard_host": "127.0.0.1",
                "object_store_memory": OBJECT_STORE_BYTES,
                "num_cpus": settings.cpus,
                "_temp_dir": str(self._folder),
            }
        with _translated(f"Ray at {address} does not start or answer"):
            ray.init(**common)
            self._address: str = ray.get_runtime_context().gcs_address

    @property
    def ends_attempts(self) -> bool:
        """Return whether the cluster is this process's own."""
        return self._local

    @property
    def most_workers(self) -> int | None:
        """Return None: Ray Train brings up any number."""
        return None

    def capacity(self) -> Sequence[Node]:
        """Return the nodes that are alive."""
        with _translated("the Ray cluster does not answer"):
            found = [node for node in _nodes() if node["Alive"]]
        return [_node(node, local=self._local) for node in found]

    def launch(self, order: Order) -> None:
        """Start the attempt's actor; one of that name that is alive stays as it is."""
        alone = order.resources.workers == 1
        options: dict[str, Any] = {
            "name": order.name,
            "namespace": self._namespace,
            "num_cpus": order.resources.cpus if alone else 0,
            "num_gpus": order.resources.gpus if alone else 0,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        if not alone:
            # Ray Train's clean-up asks "the" Ray of the machine, and gives up when there are two.
            options["runtime_env"] = {"env_vars": {"RAY_ADDRESS": self._address}}
        if not self._local:
            options["lifetime"] = "detached"
            if order.node:
                options["scheduling_strategy"] = self._on(order.node)
        with _translated(f"attempt {order.name} could not be started"):
            try:
                actor: Any = ray.remote(AttemptActor).options(**options).remote()
            except ValueError as error:  # the name is taken
                if self._is_named(order.name):
                    return
                raise LaunchError(f"attempt {order.name} has been there and is gone") from error
            actor.execute.remote(order)
        self._handles[order.name] = actor

    def alive(self, name: str) -> bool | None:
        """Return whether the actor lives.

        Of an attempt that another dispatcher's local cluster started nothing can be known here.
        """
        if self._local and name not in self._handles:
            return None
        try:
            return self._is_named(name)
        except (RayError, RuntimeError):
            return None

    def kill(self, name: str) -> None:
        """End the actor and its process by force."""
        with contextlib.suppress(ValueError, RayError):
            ray.kill(ray.get_actor(name, namespace=self._namespace), no_restart=True)

    def freed(self, others: Sequence[Resources]) -> bool:
        """Return whether the groups of resources that exist are those of other attempts."""
        try:
            groups = [group for group in placement_group_table().values() if _holds(group)]
        except RayError:
            return False
        return len(groups) <= sum(other.workers > 1 for other in others)

    def close(self) -> None:
        """Disconnect; a local cluster ends, with the attempts on it."""
        self._handles.clear()
        ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _is_named(self, name: str) -> bool:
        """Return whether a living actor has the name.

        `get_actor` would go on to return a handle that it has once seen, of a dead actor too.
        """
        found = list_named_actors(all_namespaces=True)
        return {"name": name, "namespace": self._namespace} in found

    def _on(self, node: str) -> NodeAffinitySchedulingStrategy:
        ids = {_node(found, local=False).name: found["NodeID"] for found in _nodes()}
        if node not in ids:
            raise LaunchError(f"node {node} has left the cluster")
        return NodeAffinitySchedulingStrategy(ids[node], soft=False)


def ray_folder(home: Path) -> Path:
    """Return where a local cluster of this process keeps its files: in `home`, if that is short."""
    inside = home.absolute() / "ray" / str(os.getpid())
    if len(str(inside)) <= LONGEST_FOLDER:
        return inside
    return Path(tempfile.gettempdir()) / f"convoy-ray-{os.getuid()}" / str(os.getpid())


def sweep_folders(parent: Path) -> None:
    """Remove what local clusters of processes that are gone have left behind."""
    for folder in parent.glob("[0-9]*"):
        if not psutil.pid_exists(int(folder.name)):
            shutil.rmtree(folder, ignore_errors=True)


def _nodes() -> list[dict[str, Any]]:
    return list(ray.nodes())  # type: ignore[no-untyped-call]  # Ray's, without types


def _node(found: dict[str, Any], *, local: bool) -> Node:
    resources = found["Resources"]
    host = found["NodeManagerHostname"]
    return Node(
        name=socket.gethostname() if local else f"{host}/{found['NodeManagerAddress']}",
        cpus=resources.get("CPU", 0.0),
        gpus=resources.get("GPU", 0.0),
        memory_mib=resources.get("memory", 0.0) / 2**20,
        labels=found.get("Labels") or {},
    )


def _holds(group: dict[str, Any]) -> bool:
    return bool(group["state"] != "REMOVED")


@contextlib.contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except (RayError, ConnectionError, RuntimeError, OSError, TimeoutError) as error:
        raise LaunchError(f"{what}: {error}") from error
