"""Test a Ray node that dies during a run: the other node takes over its slices."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ray.cluster_utils import Cluster

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.score import ledger, runs
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.actors import LEDGER_INSERT, TITLE, awaited, processes, started
from tests.faults.oracle import assert_exact, assert_nothing_left, newest
from tests.faults.proxy import Rule
from tests.faults.test_crashes import behind_a_proxy, finished
from tests.faults.test_interrupted import finish

DAY = PUBLISHER_LAST_DATE - timedelta(days=75)
# A dead node is detected after a second instead of half a minute.
ALERT = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 200,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 5,
}


@dataclass(frozen=True)
class TwoNodes:
    """A Ray cluster of two nodes on this machine, with one CPU each."""

    cluster: Cluster
    second: Any

    @property
    def actors(self) -> list[int]:
        """Return the scoring actors on the second node."""
        return [pid for pid, parent, title in processes() if parent == self._raylet.pid and title.startswith(TITLE)]

    def kill_second(self) -> None:
        """Kill the second node's raylet once a scoring actor runs there, and wait for the actor to end."""
        actors = awaited(lambda: self.actors, "no actor on the second node")
        self._raylet.kill()
        # Until then the actor considers it alive.
        self._raylet.wait()
        awaited(lambda: not {pid for pid, *_ in processes()} & {*actors}, "the end of a dead node's actor", 30)

    @property
    def _raylet(self) -> subprocess.Popen[bytes]:
        process: subprocess.Popen[bytes] = self.second.all_processes["raylet"][0].process
        return process


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "include_dashboard": False, "_system_config": ALERT},
        shutdown_at_exit=False,
    )
    try:
        yield TwoNodes(cluster, cluster.add_node(num_cpus=1))
    finally:
        cluster.shutdown()


def of_cluster(nodes: TwoNodes, *overrides: str) -> tuple[str, ...]:
    address = f"ray.address={nodes.cluster.address}"
    settings = (part for item in (address, *overrides) for part in ("--set", item))
    return ("score", "churn", "--date", DAY.isoformat(), *settings)


def test_a_node_killed_with_its_actor_costs_its_slice_alone(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    with two_nodes() as nodes, behind_a_proxy(fitted_publisher) as (proxy, through):
        rule = proxy.add(Rule(LEDGER_INSERT, "hold", skip=4, once=False))
        with started(through, tmp_path / "log", *of_cluster(nodes)) as command:
            command.until(rule)
            run_id = newest(reader, DAY).run_id
            before = finished(reader, run_id)
            nodes.kill_second()
            rule.released.set()
            assert command.wait() == 0, command.said
            assert before
            assert before.items() <= finished(reader, run_id).items()
            assert_exact(reader, DAY, run_id)
            assert_nothing_left(reader, command.process)
            command.gone()


def test_without_restarts_a_killed_node_fails_the_run_and_a_resume_elsewhere_is_exact(
    fitted_publisher: FittedPublisher, reader: Client, tmp_path: Path
) -> None:
    with two_nodes() as nodes, behind_a_proxy(fitted_publisher) as (proxy, through):
        rule = proxy.add(Rule(LEDGER_INSERT, "hold", skip=4, once=False))
        with started(through, tmp_path / "log", *of_cluster(nodes, "score.actors.restarts=0")) as command:
            command.until(rule)
            nodes.kill_second()
            rule.released.set()
            assert command.wait() == 1, command.said
    failed = newest(reader, DAY)
    assert failed.status == runs.FAILED
    assert "score.actors.restarts" in failed.error
    assert lock.holder(reader, "churn") is None
    before = {receipt.slice: receipt.attempt for receipt in ledger.receipts(reader, failed.run_id)}
    finish(fitted_publisher, "resume", failed.run_id)
    assert before.items() <= finished(reader, failed.run_id).items()
    assert_exact(reader, DAY, failed.run_id)
    assert_nothing_left(reader, command.process)
