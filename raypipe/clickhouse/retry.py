"""The one retry policy: repeat a request after errors that pass."""

import logging
import random
from collections.abc import Callable
from time import sleep
from typing import TypeVar

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
