"""Start Ray or connect to a cluster, and turn Ray's errors back into raypipe's own."""

import logging
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from tempfile import gettempdir
from typing import Any

import ray
from ray.exceptions import RayError

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.cluster import quirks
from raypipe.config.shared import RayConfig
from raypipe.errors import ClusterError, RaypipeError, UsageError

log = logging.getLogger(__name__)

# Before the first `ray.init`: no usage report over the network, and the v2 trainer.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Keeps the warnings of the C++ side of a Ray started here off the terminal.
_LOCAL_ENVIRONMENT = {"RAY_BACKEND_LOG_LEVEL": "fatal"}
ANSWER_SECONDS = 10
ANY_RAY = RayConfig()
# Attributes of Ray's errors that contain the error they wrap.
_WRAPPED = ("cause", "controller_failure", "_base_exc", "__cause__", "__context__")
# A busy machine may be too slow for one start; the second is usually quicker, as the files are in memory.
STARTS = 2


class Session:
    """A connection to Ray that is made on demand and closed in the background, while ClickHouse works on.

    It is made in the foreground, because Ray binds its driver to the thread that starts it.
    """

    def __init__(self, endpoint: Endpoint, address: str | None, cpus: int | None) -> None:
        self._endpoint = endpoint
        self._address = address
        self._cpus = cpus
        self._is_mine = False

    def ready(self) -> None:
        """Connect, unless Ray is connected already.

        Raises:
            UsageError: the endpoint is on loopback while Ray has several nodes, or the address is a job server's.
            ClusterError: Ray does not start, or the cluster does not answer or does not accept this process.
        """
        _prefer(_ENVIRONMENT)
        if _closing is not None:
            _closing.join()
        if not ray.is_initialized():
            self._is_mine = True
            with quirks.own_sigterm():
                _connect(self._address or os.environ.get("RAY_ADDRESS"), self._cpus)
        _refuse_loopback_on_many_nodes(self._endpoint)

    @property
    def starts_here(self) -> bool:
        """Return whether Ray has yet to be started on this machine, which takes some seconds."""
        return not (self._address or os.environ.get("RAY_ADDRESS") or ray.is_initialized())

    def release(self) -> None:
        """Close a connection that was made here, without waiting; a Ray that was there before stays."""
        global _closing
        if self._is_mine:
            self._is_mine = False
            # Python waits for this thread when it exits, so that no process of Ray is left behind.
            _closing = threading.Thread(target=ray.shutdown, name="ray-shutdown")
            _closing.start()


# The session that is closing: Ray cannot start and stop at the same time.
_closing: threading.Thread | None = None


@contextmanager
def session(endpoint: Endpoint, config: RayConfig = ANY_RAY) -> Iterator[Session]:
    """Yield a session that connects when it has to be ready, and release it at the end.

    Args:
        endpoint: the ClickHouse of the workers; an embedded engine serves a single node only.
        config: the address of a cluster, or the CPUs of a Ray that is started on this machine. Without an address, a
            job uses the cluster that it runs on.
    """
    started = Session(endpoint, config.address, config.cpus)
    try:
        yield started
    finally:
        started.release()


def _connect(address: str | None, cpus: int | None) -> None:
    quirks.keep_off_stdout()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
    if address:
        _require_cluster(address)
        with _reached(address):
            ray.init(address=address, **quiet)
    else:
        _prefer(_LOCAL_ENVIRONMENT)
        _start(num_cpus=cpus, include_dashboard=False, **quiet)


def _start(**options: Any) -> None:
    """Start Ray on this machine; a start that fails is tried once more.

    Raises:
        ClusterError: no start succeeded.
    """
    for attempt in range(1, STARTS + 1):
        try:
            with quirks.quiet_start():
                ray.init(address="local", **options)
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


def _prefer(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)


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


def _refuse_loopback_on_many_nodes(endpoint: Endpoint) -> None:
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


def quiet_libraries() -> None:
    """Keep the progress bars and logs of Ray Data and Ray Train off the terminal."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # A worker's error is raised here as well, so Ray's own report would repeat it.
    if not log.isEnabledFor(logging.DEBUG):
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        logging.getLogger("ray.train").setLevel(logging.CRITICAL)


def original(error: BaseException) -> RaypipeError | None:
    """Return the raypipe error that Ray's error wraps, or None."""
    mine = (cause for cause in causes(error) if isinstance(cause, RaypipeError) and not isinstance(cause, RayError))
    return next(mine, None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, outermost first, through the wrappers of Ray Core, Data and Train."""
    seen: set[int] = set()
    waiting: list[BaseException] = [error]
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inside = [getattr(current, name, None) for name in _WRAPPED]
        inside.extend(getattr(current, "worker_failures", {}).values())
        waiting.extend(cause for cause in inside if isinstance(cause, BaseException))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Raise a Ray worker's error as the worker raised it."""
    try:
        yield
    except Exception as error:
        cause = original(error)
        # An error of raypipe's own is left alone.
        if cause is None or cause is error:
            raise
        raise cause from error
