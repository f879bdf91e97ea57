"""The one retry policy: repeat a request after errors that pass."""

import logging
import random
from collections.abc import Callable
from time import sleep
from typing import TypeVar

from raypipe.clickhouse.server_errors import REPLICATION
from raypipe.errors import Transient, Unreachable

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPTS = 6
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 20.0


def repeat(request: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
    """Run a request, and again after errors that pass, with exponential pauses and jitter.

    It must be safe to repeat: a read, a deduplicated insert or an idempotent statement.
    """
    seconds = FIRST_PAUSE_SECONDS
    for attempt in range(attempts - 1):
        try:
            return request()
        except (Transient, Unreachable) as error:
            if attempt == 0 and isinstance(error, Unreachable):
                log.warning("%s (%s); trying again", error.problem, error.found)
            sleep(seconds * random.uniform(0.5, 1.5))
            seconds = min(2 * seconds, LONGEST_PAUSE_SECONDS)
    return request()


class Patience:
    """The repetition of one client's requests.

    Args:
        ends: whether it ends when a node or Keeper is gone; then each request is sent once, until one succeeds. On a
            cluster, a command without its node only tidies up, and another node can finish the work.
    """

    def __init__(self, ends: bool) -> None:
        self._ends = ends
        self._is_over = False

    def repeat(self, request: Callable[[], T], *, attempts: int = ATTEMPTS) -> T:
        """Repeat a request as `repeat` does."""
        try:
            result = repeat(request, attempts=1 if self._is_over else attempts)
        except (Transient, Unreachable) as error:
            self._is_over = self._ends and (isinstance(error, Unreachable) or error.code in REPLICATION)
            raise
        self._is_over = False
        return result
