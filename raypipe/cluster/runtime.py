"""Starting Ray, and turning what it raises back into raypipe's own errors."""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import ray
from ray._private import services, worker
from ray.exceptions import RayError

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.shared import RayConfig
from raypipe.errors import ClusterError, RaypipeError, UsageError

log = logging.getLogger(__name__)

# Before the first `ray.init`: no usage report over the network, and the v2 trainer.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# A Ray started here keeps the warnings of its C++ side off the terminal.
_LOCAL_ENVIRONMENT = {"RAY_BACKEND_LOG_LEVEL": "fatal"}
ANSWER_SECONDS = 10
ANY_RAY = RayConfig()
# Where Ray's wrappers keep what they wrap.
_WRAPPED = ("cause", "controller_failure", "_base_exc", "__cause__", "__context__")
# Says that a Ray started here asks for a token, which it makes and uses by itself.
_TOKEN_NOTICE = "ray._private.authentication.authentication_token_setup"


class Session:
    """A connection to Ray, made when it is needed and given up in the background: ClickHouse's work goes on meanwhile.

    It is made in the foreground: Ray binds its driver to the thread that starts it.
    """

    def __init__(self, endpoint: Endpoint, address: str | None, cpus: int | None) -> None:
        self._endpoint = endpoint
        self._address = address
        self._cpus = cpus
        self._is_mine = False

    def ready(self) -> None:
        """Connects, unless Ray is connected already.

        Raises:
            UsageError: the endpoint is on loopback while Ray has several nodes, or the address is a job server's.
            ClusterError: no cluster answers at the address, or it does not accept this process.
        """
        _prefer(_ENVIRONMENT)
        if _closing is not None:
            _closing.join()
        if not ray.is_initialized():
            self._is_mine = True
            _connect(self._address or os.environ.get("RAY_ADDRESS"), self._cpus)
        _refuse_loopback_on_many_nodes(self._endpoint)

    @property
    def starts_here(self) -> bool:
        """Whether Ray is still to be started on this machine, which takes some seconds."""
        return not (self._address or os.environ.get("RAY_ADDRESS") or ray.is_initialized())

    def release(self) -> None:
        """Gives up a connection that was made here, and returns at once; a Ray that was there before stays."""
        global _closing
        if self._is_mine:
            self._is_mine = False
            # Python waits for this thread at its exit, so that no process of Ray's is left behind.
            _closing = threading.Thread(target=ray.shutdown, name="ray-shutdown")
            _closing.start()


# The session that is going away: Ray cannot start and stop at once.
_closing: threading.Thread | None = None


@contextmanager
def session(endpoint: Endpoint, config: RayConfig = ANY_RAY) -> Iterator[Session]:
    """A session that connects when it has to be ready, and is released at the end.

    Args:
        endpoint: the ClickHouse that the workers will use; an embedded one serves a single node only.
        config: the address of a cluster, or the CPUs of a Ray that is started on this machine. Without an address, a
            job uses the cluster that it runs on.
    """
    made = Session(endpoint, config.address, config.cpus)
    try:
        yield made
    finally:
        made.release()


def _connect(address: str | None, cpus: int | None) -> None:
    _keep_off_stdout()
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.WARNING, "configure_logging": False}
    if address:
        _require_cluster(address)
        with _reached(address):
            ray.init(address=address, **quiet)
    else:
        _prefer(_LOCAL_ENVIRONMENT)
        logging.getLogger(_TOKEN_NOTICE).setLevel(logging.ERROR)
        with _stderr_closed(), _without_dashboard():
            ray.init(address="local", num_cpus=cpus, include_dashboard=False, **quiet)


def _require_cluster(address: str) -> None:
    """Refuses at once an address that Ray would try for minutes, or take for the name of a Python module."""
    if address.startswith(("http://", "https://")):
        raise UsageError(
            "The address of a job server is not that of a Ray cluster",
            found=address,
            allowed="host:port of the cluster's head (6379 unless set otherwise), auto, or none for a Ray of its own",
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
            next_step="start it, or correct ray.address or RAY_ADDRESS; with neither, a Ray is started for the command."
            " One with a token needs RAY_AUTH_MODE=token and RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH here too",
        ) from error


@contextmanager
def _without_dashboard() -> Iterator[None]:
    """Keeps Ray from starting its dashboard's process and waiting a second for it, although none was asked for.

    docs/decisions/0009-what-scoring-does-without.md says why Ray's own function is replaced, and what happens when
    a later Ray has it no more.
    """
    starting = getattr(services, "start_api_server", None)
    if starting is None:
        yield
        return
    # What it answers when the dashboard is switched off, but for the process.
    services.start_api_server = lambda *_, **__: ("", None)
    try:
        yield
    finally:
        services.start_api_server = starting


def _keep_off_stdout() -> None:
    """Sends what Ray's nodes report, such as an actor that died and is started again, to stderr.

    Ray prints it on stdout, in the middle of a command's JSON, whatever `log_to_driver` says. A later Ray that does so
    in another way is left as it is.
    """
    told = getattr(worker, "print_to_stdstream", None)
    if told is None or getattr(told, "func", None) is _on_stderr:
        return
    worker.print_to_stdstream = partial(_on_stderr, told)


def _on_stderr(told: Callable[..., None], data: Mapping[str, Any], *arguments: Any, **named: Any) -> None:
    told({**data, "is_err": True}, *arguments, **named)


@contextmanager
def _stderr_closed() -> Iterator[None]:
    """Keeps what Ray's C++ side writes to stderr while it starts off the terminal; its errors are raised."""
    if log.isEnabledFor(logging.DEBUG):
        yield
        return
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _prefer(variables: Mapping[str, str]) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def node_cpus(wanted: int) -> list[int]:
    """The CPUs of each node of the connected Ray that has any; as many as are wanted where none has.

    An autoscaling cluster begins with a head without CPUs, and starts a worker for the first process that waits.
    """
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    cpus = [int(node["Resources"].get("CPU", 0)) for node in known if node["Alive"]]
    return [found for found in cpus if found] or [wanted]


def room(nodes: Sequence[int], cpus: int) -> int:
    """How many processes of so many CPUs run at a time on nodes with these CPUs: a process lies on one node."""
    return sum(node // cpus for node in nodes)


def _refuse_loopback_on_many_nodes(endpoint: Endpoint) -> None:
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    # By address: nodes that share a machine, as in tests, share its loopback too.
    nodes = {node["NodeManagerAddress"] for node in known if node["Alive"]}
    if endpoint.is_loopback and len(nodes) > 1:
        raise UsageError(
            "A ClickHouse on loopback cannot serve a Ray cluster of several nodes",
            found=f"{endpoint} and {len(nodes)} nodes",
            allowed="an http(s):// URL that every node reaches",
            next_step="set RAYPIPE_URL to a ClickHouse server, or run on one node",
        )


def quiet_libraries() -> None:
    """Keeps the progress bars and the logs of Ray Data and Ray Train, which a fit uses, off the terminal."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    # An error of a worker is raised here as well; Ray's own report of it would be the same twice.
    if not log.isEnabledFor(logging.DEBUG):
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        logging.getLogger("ray.train").setLevel(logging.CRITICAL)


def original(error: BaseException) -> RaypipeError | None:
    """The raypipe error at the bottom of what Ray raised, or None when there is none."""
    return next((one for one in causes(error) if isinstance(one, RaypipeError) and not isinstance(one, RayError)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and what caused it, outermost first, through the wrappers of Ray Core, Data and Train."""
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
        waiting.extend(one for one in inside if isinstance(one, BaseException))


@contextmanager
def plain_errors() -> Iterator[None]:
    """Inside, an error that a Ray worker met comes out as the worker raised it."""
    try:
        yield
    except Exception as error:
        found = original(error)
        # What was raised here already is left alone.
        if found is None or found is error:
            raise
        raise found from error
