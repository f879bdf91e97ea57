"""Follow a job's log until the job ends, across broken connections."""

import logging
import time

from raypipe.cluster.job_server import JobState, Server, TokenRefused, Write
from raypipe.errors import ClusterError

log = logging.getLogger(__name__)

# If the head is gone for longer, its jobs are gone too.
ATTEMPTS = 6
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class _Log:
    """Writes only the new part of a log: every connection repeats it from the beginning."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._written = 0
        self._received = 0

    def again(self) -> None:
        """Start over: a new connection repeats the log from its beginning."""
        self._received = 0

    def __call__(self, text: str) -> None:
        fresh = text[max(0, self._written - self._received) :]
        self._received += len(text)
        if fresh:
            self._written += len(fresh)
            self._write(fresh)


def follow(server: Server, submission_id: str, write: Write) -> JobState:
    """Write a job's log until the job ends, and return its final state.

    Raises:
        ClusterError: the server no longer answers, or no longer accepts the token.
    """
    shown = _Log(write)
    failures = 0
    while True:
        try:
            shown.again()
            server.follow(submission_id, shown)
            state = server.state(submission_id)
        except TokenRefused:
            raise
        except ClusterError as error:
            failures += 1
            if failures >= ATTEMPTS:
                raise ClusterError(
                    f"Lost contact with the job {submission_id}",
                    found=error.found,
                    next_step=f"`{server.tool('status', submission_id)}` once the cluster answers; the job runs on as"
                    " long as the head does",
                ) from error
            log.warning("%s; trying again", error.problem)
            time.sleep(min(PAUSE_SECONDS * 2**failures, LONGEST_PAUSE_SECONDS))
            continue
        failures = 0
        if state.is_over:
            return state
        time.sleep(PAUSE_SECONDS)
