"""Test the command and the exit code of `raypipe submit`."""

from __future__ import annotations

import pytest

from raypipe.cli.submit import _exit_code, _usable
from raypipe.cluster.job_server import JobState
from raypipe.errors import UsageError


@pytest.mark.parametrize("command", ["models", "models churn", "models --limit 3", "models list churn", "runs"])
def test_a_documented_command_can_be_submitted(command: str) -> None:
    assert _usable(["raypipe", *command.split()]) == tuple(command.split())


@pytest.mark.parametrize("command", ["server", "submit", "modles", ""])
def test_an_unknown_command_is_refused(command: str) -> None:
    with pytest.raises(UsageError, match="A cluster cannot run this command"):
        _usable(["raypipe", *command.split()])


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
