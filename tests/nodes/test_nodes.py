"""Test a Ray of three nodes: whole nights as jobs, nodes that are lost in each stage, and nodes that join."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from raypipe.clickhouse.client import Client
from raypipe.score import runs
from tests.clusters import Node
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.actors import LEDGER_INSERT, TITLE, awaited
from tests.faults.oracle import assert_exact, assert_nothing_left, newest, own_tables
from tests.faults.proxy import Rule
from tests.faults.test_crashes import finished
from tests.nodes.jobs import PATIENCE, Cluster, cluster, used

pytestmark = pytest.mark.cluster

DAY = PUBLISHER_LAST_DATE
EARLIER = PUBLISHER_LAST_DATE - timedelta(days=60)
FAST = ("evaluate.bootstrap=50",)
# Ray's names of the processes that fit, read and write.
TRAINS, READS, TRIES = "ray::RayTrainWorker", "ray::ReadClickHouse", "ray::ImplicitFunc"
PROGRAM = """
import os
import raypipe

with raypipe.connected(os.environ["RAYPIPE_URL"]) as clickhouse:
    rows = raypipe.read_sql(
        "SELECT company_id, brand_id, user_id FROM customer_user_features WHERE feature_date = {day:Date} AND {slice}",
        clickhouse,
        table="customer_user_features",
        pinned={"feature_date": DAY},
        parameters={"day": DAY},
        slice_rows=500,
    )
    keys = ["company_id", "brand_id", "user_id"]
    rows.write_datasink(raypipe.ClickHouseSink("copied_readers", clickhouse, run="once", keys=keys))
"""
COPIED = """
SELECT countIf(c.times = 0), countIf(c.times > 1), count() FROM
    (SELECT company_id, brand_id, user_id FROM customer_user_features WHERE feature_date = {day:Date}) AS s
FULL JOIN (SELECT company_id, brand_id, user_id, count() AS times FROM copied_readers GROUP BY ALL) AS c
    USING (company_id, brand_id, user_id)
"""
# A read of Ray Data; the command's own reads of the table have no slice.
READ = b"WHERE feature_date = {day:Date} AND"
TRAINING_READ = b"WHERE part = {part:String} AND"


@pytest.fixture(scope="module")
def three(fitted_publisher: FittedPublisher, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(fitted_publisher, tmp_path_factory.mktemp("project")) as made:
        yield made


@pytest.fixture
def reader(fitted_publisher: FittedPublisher) -> Iterator[Client]:
    with Client(fitted_publisher.endpoint) as client:
        yield client


def node_of(nodes: list[Node], title: str) -> Node:
    """Wait for a process on any node, and return the node."""
    return awaited(lambda: [node for node in nodes if node.workers(title)], title, PATIENCE)[0]


def at_work(reader: Client) -> list[runs.Run]:
    return [run for run in runs.listed(reader, "churn") if run.status == runs.RUNNING]


def test_a_whole_night_is_submitted_scored_on_every_node_and_right(
    three: Cluster, reader: Client, tmp_path: Path
) -> None:
    night = three.raypipe("nightly", "--date", DAY.isoformat(), "--json", overrides=FAST)
    with three.nodes(3) as nodes, three.submitted(tmp_path / "log", night) as command:
        assert used(command, nodes) == {0, 1, 2}
        assert command.process.returncode == 0, command.said
    steps = json.loads(command.said[command.said.index("\n{") : command.said.rindex("}") + 1])["pipelines"]
    assert {step["pipeline"]: step["status"] for step in steps if step["status"] != "done"} == {}
    assert [step["pipeline"] for step in steps if step["run_id"] and not step["verified"]] == []
    assert_exact(reader, DAY, newest(reader, DAY).run_id)
    assert_nothing_left(reader)


def test_rays_own_tool_runs_the_night_again(three: Cluster, reader: Client, tmp_path: Path) -> None:
    night = three.ray("nightly", "--date", DAY.isoformat(), "--json", overrides=FAST)
    with three.nodes(3) as nodes, three.submitted(tmp_path / "log", night) as command:
        assert used(command, nodes) == {0, 1, 2}
        assert command.process.returncode == 0, command.said
    assert '"failed": []' in command.said
    assert_exact(reader, DAY, newest(reader, DAY).run_id)
    assert_nothing_left(reader)


def test_a_node_lost_while_it_scores_costs_its_slices_alone(three: Cluster, reader: Client, tmp_path: Path) -> None:
    rule = three.proxy.add(Rule(LEDGER_INSERT, "hold", skip=4, once=False))
    score = three.raypipe("score", "churn", "--date", EARLIER.isoformat())
    with three.nodes(3) as nodes, three.submitted(tmp_path / "log", score) as command:
        command.until(rule)
        awaited(lambda: all(node.workers(TITLE) for node in nodes), "a scoring actor on each node")
        run_id = newest(reader, EARLIER).run_id
        before = finished(reader, run_id)
        nodes[-1].die()
        rule.released.set()
        assert command.wait() == 0, command.said
    assert before
    assert before.items() <= finished(reader, run_id).items()
    assert_exact(reader, EARLIER, run_id)
    assert_nothing_left(reader)


def test_nodes_that_join_an_empty_cluster_while_a_run_waits_and_scores_get_actors(
    three: Cluster, reader: Client, tmp_path: Path
) -> None:
    rule = three.proxy.add(Rule(LEDGER_INSERT, "hold", skip=2, once=False))
    score = three.raypipe("score", "churn", "--date", EARLIER.isoformat())
    with three.submitted(tmp_path / "log", score) as command, ExitStack() as stack:
        # A node that shares the machine may not join before the command has read its files.
        awaited(lambda: command.process.poll() is not None or at_work(reader), "a run at work", PATIENCE)
        stack.enter_context(three.nodes(1))
        command.until(rule)
        with three.nodes(1) as (late,):
            rule.released.set()
            awaited(lambda: late.workers(TITLE), "an actor on the node that came later")
            assert command.wait() == 0, command.said
    assert_exact(reader, EARLIER, newest(reader, EARLIER).run_id)


def test_a_fit_that_loses_the_node_of_its_worker_begins_again(three: Cluster, reader: Client, tmp_path: Path) -> None:
    rule = three.proxy.add(Rule(TRAINING_READ, "hold", once=False))
    fit = three.raypipe("fit", "churn", "--json", overrides=(*FAST, "model.workers=1"))
    with three.nodes(3) as nodes, three.submitted(tmp_path / "log", fit) as command:
        command.until(rule)
        node_of(nodes, TRAINS).die()
        rule.released.set()
        assert command.process.wait(200) == 0, command.said
    assert "A Ray process died during the fit; fitting once more" in command.said
    assert own_tables(reader) == []


def test_a_sweep_that_loses_a_node_goes_on_without_its_trial(three: Cluster, reader: Client, tmp_path: Path) -> None:
    space = "{model.params.max_depth: {int: [2, 6]}, model.params.eta: {log: [0.02, 0.3]}}"
    sweep = three.raypipe(
        "sweep",
        "churn",
        "--trials",
        "6",
        "--json",
        overrides=(*FAST, "sweep.space=", f"sweep.space={space}", "model.rounds=60", "sweep.grace_rounds=10"),
    )
    with three.nodes(3) as nodes, three.submitted(tmp_path / "log", sweep) as command:
        awaited(
            lambda: any(node.workers(TRIES) for node in nodes[1:]), "a trial on another node than the command's", 120
        )
        next(node for node in nodes[1:] if node.workers(TRIES)).die()
        assert command.process.wait(200) == 0, command.said
    trials = json.loads(command.said[command.said.index("\n{") : command.said.rindex("}") + 1])["trials"]
    assert (trials["done"], trials["failed"]) == (6, 1)


def test_a_program_that_loses_a_node_while_it_reads_adds_nothing_and_the_next_adds_every_row_once(
    three: Cluster, reader: Client, tmp_path: Path
) -> None:
    (three.project / "program.py").write_text(PROGRAM.replace("DAY", repr(DAY.isoformat())))
    reader.run(
        "CREATE TABLE copied_readers (company_id String, brand_id String, user_id String)"
        " ENGINE = MergeTree ORDER BY user_id"
    )
    rule = three.proxy.add(Rule(READ, "hold", skip=1, once=False))
    with three.nodes(3) as nodes, three.submitted(tmp_path / "log", three.program("program.py")) as command:
        command.until(rule)
        node_of(nodes, READS).die()
        rule.released.set()
        assert command.wait() == 1, command.said
        assert "Error" in command.said
        assert reader.value("SELECT count() FROM copied_readers") == 0
        with three.submitted(tmp_path / "again", three.program("program.py")) as again:
            assert again.wait() == 0, again.said
    lost, doubled, rows = reader.rows(COPIED, {"day": DAY}, {"join_use_nulls": 0})[0]
    assert (lost, doubled) == (0, 0)
    assert rows > 0
