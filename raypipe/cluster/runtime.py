"""Decide when Ray is needed, and connect to it only then: importing and starting Ray takes seconds."""

import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.job import leave_working_dir
from raypipe.config.shared import RayConfig

log = logging.getLogger(__name__)

# Before the first `ray.init`: no usage report over the network, and the v2 trainer.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
ANY_RAY = RayConfig()


class Session:
    """A connection to Ray that is made on demand and closed in the background, while ClickHouse works on.

    It is made in the foreground, because Ray binds its driver to the thread that starts it.
    """

    def __init__(self, endpoint: Endpoint, config: RayConfig) -> None:
        self._endpoint = endpoint
        self._config = config

    @property
    def is_wanted(self) -> bool:
        """Return whether work belongs on Ray: its address is configured, or it is connected already."""
        return bool(self._address) or _is_connected()

    @property
    def _address(self) -> str | None:
        return self._config.address or os.environ.get("RAY_ADDRESS")

    def ready(self) -> None:
        """Connect, unless Ray is connected already; without an address, start Ray on this machine.

        Raises:
            UsageError: the endpoint is on loopback while Ray has several nodes, or the address is a job server's.
            ClusterError: Ray does not start, or the cluster does not answer or does not accept this process.
        """
        global _owner
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from raypipe.cluster import connection, quirks

        if _owner not in (None, _standing) and _keeping and _owner._config != self._config:
            # The pipelines of a night may name several clusters.
            _close()
        if _closing is not None:
            _closing.join()
        if not _is_connected():
            leave_working_dir()
            with quirks.own_sigterm():
                connection.connect(self._address, self._config.cpus)
            _owner = self
        connection.refuse_loopback_on_many_nodes(self._endpoint)

    def release(self) -> None:
        """Close a connection that was made here, without waiting; a Ray that was there before stays."""
        if _owner is self and not _keeping:
            _close()


# The session that has connected, whether its connection outlives it, and the session that had connected before that.
_owner: Session | None = None
_keeping = False
_standing: Session | None = None
# The connection that is closing: Ray cannot start and stop at the same time.
_closing: threading.Thread | None = None


@contextmanager
def session(endpoint: Endpoint, config: RayConfig = ANY_RAY) -> Iterator[Session]:
    """Yield a session that connects when it has to be ready, and release it at the end.

    Args:
        endpoint: the ClickHouse of the workers; an embedded engine serves a single node only.
        config: the address of a cluster, or the CPUs of a Ray that is started on this machine. Without an address, a
            job uses the cluster that it runs on.
    """
    made = Session(endpoint, config)
    try:
        yield made
    finally:
        made.release()


@contextmanager
def kept() -> Iterator[None]:
    """Keep a connection that is made inside for the sessions that follow, and close it at the end.

    A connection that an outer session has made stays.
    """
    global _keeping, _standing
    before = _keeping, _standing
    if not _keeping:
        _keeping, _standing = True, _owner
    try:
        yield
    finally:
        made = _owner is not _standing
        _keeping, _standing = before
        if _owner is not None and made and not _keeping:
            _close()


def _is_connected() -> bool:
    # A process that has not imported Ray has no connection.
    ray = sys.modules.get("ray")
    is_closing = _closing is not None and _closing.is_alive()
    return ray is not None and not is_closing and bool(ray.is_initialized())


def _close() -> None:
    global _closing, _owner
    import ray

    _owner = None
    # Python waits for this thread when it exits, so that no process of Ray is left behind.
    _closing = threading.Thread(target=ray.shutdown, name="ray-shutdown")
    _closing.start()


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
