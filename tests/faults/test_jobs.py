"""Test jobs on a cluster with a token: by Ray's own tool, stopped, and with a killed node."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.score import runs
from tests import clusters
from tests.clusters import BIN, Head, Node
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.actors import LEDGER_INSERT, TITLE, Command, awaited, processes
from tests.faults.oracle import assert_exact, assert_nothing_left, newest
from tests.faults.proxy import Proxy, Rule, proxied
from tests.faults.test_crashes import finished
from tests.faults.test_interrupted import finish

DAY = PUBLISHER_LAST_DATE - timedelta(days=90)


@pytest.fixture(scope="module")
def proxy(fitted_publisher: FittedPublisher) -> Iterator[Proxy]:
    with proxied(fitted_publisher.endpoint.url) as between:
        yield between


@pytest.fixture(scope="module")
def head(fitted_publisher: FittedPublisher, proxy: Proxy) -> Iterator[Head]:
    user, database = fitted_publisher.endpoint.user, fitted_publisher.endpoint.database
    settings = {
        "RAYPIPE_URL": f"http://{user}@{proxy.url.partition('://')[2]}/{database}",
        "RAYPIPE_PASSWORD": fitted_publisher.endpoint.password(),
        "RAYPIPE_ARTIFACTS": str(fitted_publisher.artifacts),
    }
    with clusters.head(cpus=1, **settings) as started:
        yield started


@pytest.fixture
def second(head: Head) -> Iterator[Node]:
    with head.joined(cpus=1) as node:
        yield node


@contextmanager
def submitted(head: Head, log: Path, *command: str) -> Iterator[Command]:
    """Submit from a shell that knows only the token."""
    with log.open("wb") as said:
        process = subprocess.Popen(
            command,
            env={
                **{name: os.environ[name] for name in ("HOME", "LANG") if name in os.environ},
                "PATH": head.environment["PATH"],
                "PYTHONPATH": head.environment["PYTHONPATH"],
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": head.token,
            },
            cwd=log.parent,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    started = Command(process, log)
    try:
        yield started
    finally:
        started.kill()


def score(head: Head) -> list[str]:
    """Return `raypipe submit` of a scoring run in slices of 500 rows."""
    run = ["score", "churn", "--date", DAY.isoformat(), "--set", "score.slice_rows=500"]
    return [sys.executable, "-m", "raypipe", "submit", head.address, "--", *run]


def night(head: Head) -> list[str]:
    """Return Ray's own `ray job submit` of a night of churn only."""
    run = ["python", "-m", "raypipe", "nightly", "--only", "churn", "--date", DAY.isoformat(), "--json"]
    return [str(BIN / "ray"), "job", "submit", "--address", head.address, "--", *run]


def test_rays_own_tool_runs_a_night_to_its_end(head: Head, reader: Client, tmp_path: Path) -> None:
    with submitted(head, tmp_path / "log", *night(head)) as command:
        assert command.wait() == 0, command.said
    run_id = newest(reader, DAY).run_id
    assert f'"run_id": "{run_id}"' in command.said
    assert '"failed": []' in command.said
    assert_exact(reader, DAY, run_id)
    assert_nothing_left(reader)


def test_a_node_killed_while_a_job_scores_on_both_costs_its_slices_alone(
    head: Head, second: Node, proxy: Proxy, reader: Client, tmp_path: Path
) -> None:
    rule = proxy.add(Rule(LEDGER_INSERT, "hold", skip=4, once=False))
    with submitted(head, tmp_path / "log", *score(head)) as command:
        command.until(rule)
        awaited(lambda: second.workers(TITLE) and head.workers(TITLE), "a scoring actor on each node")
        actors, raylet = second.workers(TITLE), second.raylet
        run_id = newest(reader, DAY).run_id
        before = finished(reader, run_id)
        os.kill(raylet, signal.SIGKILL)
        awaited(lambda: not {pid for pid, *_ in processes()} & {raylet, *actors}, "the end of a node", 30)
        rule.released.set()
        assert command.wait() == 0, command.said
    assert before
    assert before.items() <= finished(reader, run_id).items()
    assert_exact(reader, DAY, run_id)
    assert_nothing_left(reader)


def test_ctrl_c_leaves_the_job_running_and_a_stop_leaves_a_run_that_can_be_resumed(
    head: Head, proxy: Proxy, fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    rule = proxy.add(Rule(LEDGER_INSERT, "hold", skip=2, once=False))
    with submitted(head, tmp_path / "log", *score(head)) as command:
        command.until(rule)
        command.process.send_signal(signal.SIGINT)
        assert command.wait() == 130, command.said
    (name,) = {job["submission_id"] for job in head.jobs() if job["status"] == "RUNNING"}
    stop = f"RAY_AUTH_MODE=token ray job stop {name} --address {head.address}"
    assert f"the job goes on; `RAY_AUTH_MODE=token ray job logs --follow {name}" in command.said
    assert f"`{stop}` stops it" in command.said
    with submitted(head, tmp_path / "stop", "sh", "-c", f"{stop} --no-wait") as stopping:
        assert stopping.wait() == 0, stopping.said
    rule.released.set()
    awaited(lambda: head.asked(f"/api/jobs/{name}")["status"] == "STOPPED", "the end of a stopped job")
    failed = newest(reader, DAY)
    assert failed.status == runs.INTERRUPTED
    assert lock.holder(reader, "churn") is None
    finish(fitted_publisher, "resume", failed.run_id)
    assert_exact(reader, DAY, failed.run_id)
    assert_nothing_left(reader)
