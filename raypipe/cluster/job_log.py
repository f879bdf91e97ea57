"""A job's log while it runs, past connections that break, and how the job ended."""

from __future__ import annotations

import logging
import threading

from raypipe.cluster.job_server import Server, State, Write
from raypipe.errors import ClusterError

log = logging.getLogger(__name__)

# A head that is gone for longer takes its jobs with it.
ATTEMPTS = 6
PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0


class _Log:
    """Writes what was not written yet: every connection tells a log from its beginning."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._written = 0
        self._heard = 0

    def again(self) -> None:
        """A connection begins."""
        self._heard = 0

    def __call__(self, text: str) -> None:
        fresh = text[max(0, self._written - self._heard) :]
        self._heard += len(text)
        if fresh:
            self._written += len(fresh)
            self._write(fresh)


def follow(server: Server, submission_id: str, write: Write) -> State:
    """Writes a job's log until the job is over; how it ended.

    Raises:
        ClusterError: the server does not answer any more.
    """
    shown = _Log(write)
    failures = 0
    pause = threading.Event()
    while True:
        try:
            shown.again()
            server.follow(submission_id, shown)
            state = server.state(submission_id)
        except ClusterError as error:
            failures += 1
            if failures >= ATTEMPTS:
                raise ClusterError(
                    f"Lost sight of the job {submission_id}",
                    found=error.found,
                    next_step=f"`{server.tool('status', submission_id)}` once the cluster answers; the job goes on as"
                    " long as its head lives",
                ) from error
            log.warning("%s; asking again", error.problem)
            pause.wait(min(PAUSE_SECONDS * 2**failures, LONGEST_PAUSE_SECONDS))
            continue
        failures = 0
        if state.is_over:
            return state
        pause.wait(PAUSE_SECONDS)
