"""The exit code of `raypipe submit`."""

from __future__ import annotations

import pytest

from raypipe.cli.submit import _exit_code
from raypipe.cluster.job_server import JobState


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        ("SUCCEEDED", 0, 0),
        ("FAILED", 1, 1),
        ("FAILED", 2, 2),
        ("FAILED", 3, 3),
        # Killed, for its memory for example.
        ("FAILED", -9, 137),
        # Its packages could not be installed, so that there was no command.
        ("FAILED", None, 1),
        ("STOPPED", None, 130),
    ],
)
def test_the_exit_code_is_the_job_s_as_a_shell_has_it(status: str, code: int | None, expected: int) -> None:
    assert _exit_code(JobState(status, code, "")) == expected


@pytest.mark.parametrize(
    ("status", "over"), [("PENDING", False), ("RUNNING", False), ("STOPPED", True), ("FAILED", True)]
)
def test_a_job_is_over_when_it_will_not_change(status: str, over: bool) -> None:
    assert JobState(status, None, "").is_over == over
