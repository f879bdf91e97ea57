"""Test that `raypipe resume` finishes a run exactly after an interruption or a kill at any point."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.score import runs
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.oracle import assert_exact, assert_nothing_left, newest
from tests.faults.proxy import Proxy, Rule, proxied

PATIENCE = 120
INTERRUPTED = 130
BUSY = 1


@pytest.fixture
def reader(fitted_publisher: FittedPublisher) -> Iterator[Client]:
    with Client(fitted_publisher.endpoint) as client:
        yield client


@contextmanager
def behind_a_proxy(publisher: FittedPublisher) -> Iterator[tuple[Proxy, FittedPublisher]]:
    """Return the same publisher behind a proxy."""
    with proxied(publisher.endpoint.url) as proxy:
        yield proxy, replace(publisher, endpoint=replace(publisher.endpoint, url=proxy.url))


def start(publisher: FittedPublisher, day: date, log: Path) -> subprocess.Popen[bytes]:
    """Start `raypipe score` in a process group of its own."""
    with log.open("wb") as stderr:
        return subprocess.Popen(
            publisher.command("score", "churn", "--date", day.isoformat()),
            env=publisher.environment(),
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )


def wait_for(rule: Rule, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until a request is hit. If the process ends first, fail with its log."""
    for _ in range(PATIENCE * 10):
        if rule.hit.wait(0.1):
            return
        assert process.poll() is None, log.read_text()
    raise AssertionError(f"no request with {rule.pattern!r} in {PATIENCE} s:\n{log.read_text()}")


def finish(publisher: FittedPublisher, *arguments: str) -> dict[str, object]:
    """Run a command that must succeed, and return its JSON."""
    done = subprocess.run(
        publisher.command(*arguments), env=publisher.environment(), capture_output=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    document: dict[str, object] = json.loads(done.stdout)
    return document


@pytest.mark.fast
def test_ctrl_c_in_the_middle_and_resume_is_exact(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    day, log = PUBLISHER_LAST_DATE, tmp_path / "log"
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        staging = proxy.add(Rule(b"raypipe_staging_churn_20260131", "hold", skip=7))
        process = start(through, day, log)
        wait_for(staging, process, log)
        process.send_signal(signal.SIGINT)
        staging.released.set()
        assert process.wait(PATIENCE) == INTERRUPTED, log.read_text()
    run = newest(reader, day)
    assert run.status == runs.INTERRUPTED
    assert lock.holder(reader, "churn") is None
    document = finish(fitted_publisher, "resume", run.run_id)
    assert document["run_id"] == run.run_id
    assert_exact(reader, day, run.run_id)
    assert_nothing_left(reader, process)


@pytest.mark.fast
def test_a_driver_killed_while_scoring_is_resumed_without_reading_finished_slices_again(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    day, log = PUBLISHER_LAST_DATE - timedelta(days=15), tmp_path / "log"
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        # Each slice has one insert into the ledger. The fourth is held back.
        ledger = proxy.add(Rule(b"INSERT INTO `raypipe_slices`", "hold", skip=3))
        process = start(through, day, log)
        wait_for(ledger, process, log)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        ledger.released.set()
    run = newest(reader, day)
    assert run.status == runs.RUNNING
    held = lock.holder(reader, "churn")
    assert held is not None
    assert held.is_dead
    finished = reader.rows(
        "SELECT slice, completed_at FROM raypipe_slices FINAL WHERE run_id = {run:String}", {"run": run.run_id}
    )
    assert 0 < len(finished) < run.slices
    finish(fitted_publisher, "resume", run.run_id)
    kept = reader.rows(
        "SELECT slice, completed_at FROM raypipe_slices FINAL WHERE run_id = {run:String}", {"run": run.run_id}
    )
    assert set(finished) <= set(kept)
    assert len(kept) == run.slices
    assert_exact(reader, day, run.run_id)
    assert_nothing_left(reader, process)


@pytest.mark.parametrize(
    ("pattern", "skip"),
    # A run's row is written when it opens, is staged, publishes and is committed.
    [(b"REPLACE PARTITION", 0), (b"INSERT INTO `raypipe_runs`", 3)],
    ids=["before-swap", "before-commit"],
)
def test_a_driver_killed_while_publishing_is_resumed(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path, pattern: bytes, skip: int
) -> None:
    day, log = PUBLISHER_LAST_DATE - timedelta(days=45), tmp_path / "log"
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        rule = proxy.add(Rule(pattern, "hold", skip=skip))
        process = start(through, day, log)
        wait_for(rule, process, log)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
        run = newest(reader, day)
        assert run.status == runs.PUBLISHING
        finish(fitted_publisher, "resume", run.run_id)
    # The held request reaches the server now and changes nothing.
    assert_exact(reader, day, run.run_id)
    assert_nothing_left(reader, process)


def test_an_insert_cut_after_it_was_applied_is_not_doubled(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    day = PUBLISHER_LAST_DATE
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        cut = proxy.add(Rule(b"INSERT INTO `raypipe_staging_churn", "cut_after", skip=2))
        document = finish(through, "score", "churn", "--date", day.isoformat())
        assert cut.hit.is_set()
    assert_exact(reader, day, str(document["run_id"]))


def test_a_second_run_at_the_same_time_is_refused_and_names_the_first(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    day, log = PUBLISHER_LAST_DATE - timedelta(days=60), tmp_path / "log"
    with behind_a_proxy(fitted_publisher) as (proxy, through):
        held = proxy.add(Rule(b"INSERT INTO `raypipe_staging_churn", "hold"))
        process = start(through, day, log)
        wait_for(held, process, log)
        second = subprocess.run(
            fitted_publisher.command("score", "churn", "--date", day.isoformat()),
            env=fitted_publisher.environment(),
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
        held.released.set()
        assert process.wait(PATIENCE) == 0, log.read_text()
    assert second.returncode == BUSY
    assert str(process.pid) in second.stderr.decode()
    assert_exact(reader, day, newest(reader, day).run_id)
