"""Start Ray on this machine or connect to a cluster, and count the CPUs of its nodes."""

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from tempfile import gettempdir
from typing import Any

import ray
from ray.exceptions import RayError

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import quirks
from raypipe.errors import ClusterError, UsageError

log = logging.getLogger(__name__)

# Ray's word for a Ray of the process's own.
LOCAL = "local"
ANSWER_SECONDS = 10
# A busy machine may be too slow for one start; the second is usually quicker, as the files are in memory.
STARTS = 2


def connect(address: str | None, cpus: int | None) -> None:
    """Connect to the cluster at an address, or start Ray on this machine with some of its CPUs.

    Raises:
        UsageError: the address is a job server's.
        ClusterError: Ray does not start, or the cluster does not answer or does not accept this process.
    """
    quirks.keep_off_stdout()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
    if address and address != LOCAL:
        _require_cluster(address)
        with _reached(address):
            ray.init(address=address, **quiet)
    else:
        # Keeps the warnings of the C++ side of a Ray started here off the terminal.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        _start(num_cpus=cpus, include_dashboard=False, **quiet)


def _start(**options: Any) -> None:
    """Start Ray on this machine; a start that fails is tried once more.

    Raises:
        ClusterError: no start succeeded.
    """
    for attempt in range(1, STARTS + 1):
        try:
            with quirks.quiet_start():
                ray.init(address=LOCAL, **options)
            return
        # Ray raises a bare Exception for a node that is too slow.
        except Exception as error:
            reason = " ".join(str(error).split())[:500] or type(error).__name__
            ray.shutdown()
            if attempt == STARTS:
                raise ClusterError(
                    f"Ray did not start on this machine in {STARTS} attempts",
                    found=f"{reason}; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} CPUs",
                    next_step="repeat the command when the machine is less busy; `raypipe doctor` checks the machine,"
                    f" and Ray's logs are in {os.environ.get('RAY_TMPDIR') or gettempdir()}/ray/session_latest/logs",
                ) from error
            log.warning("Ray did not start: %s; trying once more", reason)


def _require_cluster(address: str) -> None:
    """Refuse at once an address that Ray would try for minutes, or mistake for a Python module."""
    if address.startswith(("http://", "https://")):
        raise UsageError(
            "The address belongs to a job server, not to a Ray cluster",
            found=address,
            allowed="host:port of the cluster's head (6379 by default), auto, or none to start Ray here",
            next_step=f"unset RAY_ADDRESS or correct ray.address; `raypipe submit {address}` runs a job there",
        )
    host, _, port = address.rpartition(":")
    if host and "://" not in host and port.isdigit():
        with _reached(address):
            socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()


@contextmanager
def _reached(address: str) -> Iterator[None]:
    try:
        yield
    except (OSError, OverflowError, RuntimeError, ValueError, RayError) as error:
        raise ClusterError(
            f"The Ray cluster at {address} cannot be used",
            found=" ".join(str(error).split())[:500],
            next_step="start it, or correct ray.address or RAY_ADDRESS; with neither, the command starts its own Ray."
            " A cluster with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH here too",
        ) from error


def node_cpus(wanted: int) -> list[int]:
    """Return the CPUs of each node of the connected Ray; `wanted` for a single node if no node has any.

    An autoscaling cluster begins with a head without CPUs, and starts a worker for the first process that waits.
    """
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    cpus = [int(node["Resources"].get("CPU", 0)) for node in known if node["Alive"]]
    return [number for number in cpus if number] or [wanted]


def room(nodes: Sequence[int], cpus: int) -> int:
    """Return the number of processes that fit on nodes with these CPUs; a process never spans nodes."""
    return sum(node // cpus for node in nodes)


def refuse_loopback_on_many_nodes(endpoint: Endpoint) -> None:
    """Refuse a ClickHouse that the other nodes of a cluster cannot reach."""
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    # By address: nodes that share a machine, as in tests, share its loopback too.
    nodes = {node["NodeManagerAddress"] for node in known if node["Alive"]}
    if endpoint.is_loopback and len(nodes) > 1:
        raise UsageError(
            "A Ray cluster of several nodes cannot reach a ClickHouse on loopback",
            found=f"{endpoint} and {len(nodes)} nodes",
            allowed="an http(s):// URL that every node reaches",
            next_step="set RAYPIPE_URL to a ClickHouse server, or run on one node",
        )
