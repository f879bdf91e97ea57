"""Test that SIGTERM ends a command as Ctrl-C does, and that whatever is advised then works."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.score import runs
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.few import DAY, Night
from tests.faults.oracle import assert_exact, assert_nothing_left, newest
from tests.faults.proxy import Action, Rule, proxied

TERMINATED = 143
PATIENCE = 180
# A command that does not handle SIGTERM.
UNHANDLED = "from raypipe.cli import failures, main\nfailures.end_at_sigterm = lambda: None\nmain()"


def command(night: Night, *words: str) -> subprocess.CompletedProcess[str]:
    publisher = night.publisher
    line = publisher.command(*words) if words[0] != "doctor" else [sys.executable, "-m", "raypipe", *words, "--json"]
    return subprocess.run(
        line, env=publisher.environment(), capture_output=True, text=True, timeout=PATIENCE, check=False
    )


def stopped_at(night: Night, rule: Rule, log: Path, *, code: str = "", ray: str = "") -> int:
    """Send SIGTERM to `raypipe score` when a request is hit, and return the exit code."""
    with proxied(night.publisher.endpoint.url) as proxy:
        through = replace(night.publisher, endpoint=replace(night.publisher.endpoint, url=proxy.url))
        proxy.add(rule)
        line = through.command("score", "churn", "--date", DAY.isoformat())
        if code:
            line[1:3] = ["-c", code]
        with log.open("wb") as stderr:
            environment = {**through.environment(), "RAY_ADDRESS": ray}
            process = subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=stderr)
        assert rule.hit.wait(PATIENCE), log.read_text()
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(PATIENCE)
        finally:
            rule.released.set()


STAGES: dict[str, tuple[bytes, Action, int]] = {
    "the lock is made": (b"CREATE TABLE `raypipe_lock_", "hold_answer", 0),
    "the row is written": (b"INSERT INTO `raypipe_runs`", "hold_answer", 0),
    "rows are staged": (b"INSERT INTO `raypipe_staging_", "hold", 0),
    "a twin is filled": (b"INSERT INTO `raypipe_twin_", "hold_answer", 0),
    "one target is swapped": (b"REPLACE PARTITION", "hold_answer", 0),
    "the commit is sent": (b"INSERT INTO `raypipe_runs`", "hold", 3),
}
QUICK = ("the lock is made", "one target is swapped")


@pytest.mark.parametrize("stage", [pytest.param(name, marks=[pytest.mark.fast] * (name in QUICK)) for name in STAGES])
def test_sigterm_gives_the_lock_back_and_the_run_is_resumed(daily: Night, tmp_path: Path, stage: str) -> None:
    pattern, action, skip = STAGES[stage]
    log = tmp_path / "log"
    assert stopped_at(daily, Rule(pattern, action, skip=skip), log) == TERMINATED, log.read_text()
    assert "terminated" in log.read_text()
    assert lock.holder(daily.client, "churn") is None
    begun = runs.listed(daily.client)
    if stage == "the lock is made":
        assert begun == []
        daily.assert_exact(daily.score())
        return
    (run,) = begun
    assert run.status == runs.INTERRUPTED
    assert f"raypipe resume {run.run_id}" in log.read_text()
    done = command(daily, "resume", run.run_id)
    assert done.returncode == 0, done.stderr
    daily.assert_exact(run.run_id)
    assert_nothing_left(daily.client)


@pytest.mark.fast
def test_without_the_handler_sigterm_strands_the_lock_until_it_is_taken_over_or_cleaned(
    daily: Night, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    rule = Rule(*STAGES["the lock is made"][:2])
    assert stopped_at(daily, rule, log, code=UNHANDLED) == -signal.SIGTERM
    assert runs.listed(daily.client) == []
    refused = command(daily, "run", "churn", "--date", DAY.isoformat())
    error = json.loads(refused.stdout)["error"]
    assert "resume" not in error["next_step"]
    assert "--take-over" in error["next_step"]
    done = command(daily, "run", "churn", "--date", DAY.isoformat(), "--take-over")
    assert done.returncode == 0, done.stderr
    daily.assert_exact(json.loads(done.stdout)["run_id"])


def test_the_lock_of_a_killed_command_is_dropped_by_the_doctor(daily: Night, tmp_path: Path) -> None:
    rule = Rule(*STAGES["the lock is made"][:2])
    assert stopped_at(daily, rule, tmp_path / "log", code=UNHANDLED) == -signal.SIGTERM
    (left,) = lock.standing(daily.client, "churn")
    cleaned = command(daily, "doctor", "--clean")
    assert left.table in json.loads(cleaned.stdout)["dropped"]
    daily.assert_exact(daily.score())


def test_sigterm_is_handled_while_ray_scores(fitted_publisher: FittedPublisher, tmp_path: Path) -> None:
    day, log = PUBLISHER_LAST_DATE, tmp_path / "log"
    with Client(fitted_publisher.endpoint) as client:
        night = Night(fitted_publisher, client)
        rule = Rule(b"raypipe_staging_churn_20260131", "hold", skip=7)
        assert stopped_at(night, rule, log, ray="local") == TERMINATED
        run = newest(client, day)
        assert (run.status, lock.holder(client, "churn")) == (runs.INTERRUPTED, None)
        done = command(night, "resume", run.run_id)
        assert done.returncode == 0, done.stderr
        assert_exact(client, day, run.run_id)
        assert_nothing_left(client)
