"""The one retry policy: repeat a request after errors that pass."""

import logging
import math
import random
from collections.abc import Callable
from time import monotonic, sleep
from typing import TypeVar

from raypipe.clickhouse.server_errors import REPLICATION
from raypipe.errors import Transient, Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 20.0


def repeat(request: Callable[[], T], *, attempts: int = ATTEMPTS, seconds: float = math.inf) -> T:
    """Run a request, and again after errors that pass, with exponential pauses and jitter.

    It must be safe to repeat: a read, a deduplicated insert or an idempotent statement.

    Args:
        seconds: the time after which it is not repeated any more.
    """
    pause, started = FIRST_PAUSE_SECONDS, monotonic()
    for attempt in range(attempts - 1):
        try:
            return request()
        except (Transient, Unreachable) as error:
            if monotonic() - started > seconds:
                raise
            if attempt == 0 and isinstance(error, Unreachable):
                log.warning("%s (%s); trying again", error.problem, error.found)
            sleep(pause * random.uniform(0.5, 1.5))
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
    return request()


class Patience:
    """The repetition of one client's requests.

    Args:
        wait_seconds: on a cluster, the seconds after which a request is not sent again. When a node or Keeper is gone,
            each later request is sent once, until one succeeds: a command without its node only tidies up, and another
            node can finish the work. None on a single server.
    """

    def __init__(self, wait_seconds: float | None) -> None:
        self._wait_seconds = wait_seconds
        self.is_over = False

    def repeat(self, request: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
        """Repeat a request as `repeat` does."""
        longest = math.inf if self._wait_seconds is None else self._wait_seconds
        try:
            result = repeat(request, attempts=1 if self.is_over else attempts, seconds=longest)
        except (Transient, Unreachable) as error:
            is_gone = isinstance(error, Unreachable) or error.code in REPLICATION
            self.is_over = is_gone and self._wait_seconds is not None
            raise
        self.is_over = False
        return result
