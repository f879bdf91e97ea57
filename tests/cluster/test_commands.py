"""Test the commands of a night on two replicas, in a database of its own name; both replicas have the same rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

import pyarrow as pa
import pytest

from raypipe.clickhouse import replication
from raypipe.clickhouse.client import Client
from raypipe.errors import ConfigError, UsageError
from raypipe.loaders import save
from tests.cluster.conftest import Replicas
from tests.cluster.equality import compare
from tests.cluster.projects import Project, project

DAY = date(2026, 1, 31)


@dataclass(frozen=True)
class Publisher:
    """A demo on two replicas, and the project of its pipelines.

    Attributes:
        both: a URL with both replicas.
        second: the URL of the second replica.
    """

    replicas: Replicas
    project: Project
    both: str
    second: str

    def compared(self) -> dict[str, int]:
        """Assert that both replicas are equal by key, and return the number of keys of each table."""
        with self.replicas.client(1) as one, self.replicas.client(2) as other:
            comparison = compare(one, other)
        assert comparison.differences == {}
        return comparison.keys


@pytest.fixture(scope="module")
def publisher(replicas: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Publisher:
    one, other = replicas.nodes
    hosts = ",".join(node.url.partition("://")[2] for node in (one, other))
    made = project(tmp_path_factory.mktemp("project"), str(one), str(one.cluster))
    made.run("migrate")
    made.run("demo", "--users", "2000")
    return Publisher(replicas, made, str(replace(one, url=f"http://{hosts}")), str(other))


def test_the_demo_fills_every_table_on_both_replicas(publisher: Publisher) -> None:
    assert publisher.compared()["customer_user_features"] > 0


def test_the_doctor_finds_the_nodes_alike(publisher: Publisher) -> None:
    checks = {check["name"]: check for check in publisher.project.run("doctor")["checks"]}
    assert checks["cluster"]["status"] == checks["tables"]["status"] == "ok", checks
    assert publisher.project.run("migrate", "--check")["created"] == []


def test_nights_through_either_replica_and_a_rollback_leave_the_same_on_both(publisher: Publisher) -> None:
    run, both, second = publisher.project.run, publisher.both, publisher.second
    for url in (both, second):
        night = run("nightly", "--only", "churn", "--only", "segmentation", url=url)
        assert {step["pipeline"]: step["status"] for step in night["pipelines"]} == {
            "features": "done",
            "churn": "done",
            "segmentation": "done",
        }
    version = run("fit", "churn", "--set", "model.rounds=20", url=both)["model_version"]
    run("models", "promote", "churn", version, "--reason", "a test")
    run("score", "churn", url=second)
    run("rollback", "churn", url=both)
    run("verify", "--date", "latest")
    run("features", "--date", "latest", "--replace")
    publisher.compared()
    checks = {check["name"]: check["status"] for check in run("doctor")["checks"]}
    assert checks["leftovers"] == checks["published rows"] == "ok", checks


def test_a_sweep_registers_its_best_configuration_on_both(publisher: Publisher) -> None:
    result = publisher.project.run("sweep", "churn", "--trials", "2", "--set", "model.rounds=20", url=publisher.both)
    assert result["trials"]["done"] == 2
    publisher.compared()


PREDICTIONS = pa.table(
    {"company_id": ["c"], "brand_id": ["b"], "entity_id": ["u"], "prediction_probability": [0.5]},
)


def test_predictions_are_saved_once_whichever_replica_gets_them(publisher: Publisher) -> None:
    with publisher.replicas.client(1) as first, publisher.replicas.client(2) as second:
        batch = save.save_predictions(first, PREDICTIONS, "m1", "by_hand", DAY)
        replication.catch_up(second)
        with pytest.raises(UsageError, match="exist"):
            save.save_predictions(second, PREDICTIONS, "m1", "by_hand", DAY)
        of_batch = "SELECT count() FROM ml_model_predictions WHERE batch_id = {batch:String}"
        assert [client.value(of_batch, {"batch": batch}) for client in (first, second)] == [1, 1]


def test_predictions_are_refused_through_a_connection_that_does_not_name_the_cluster(publisher: Publisher) -> None:
    with (
        Client(replace(publisher.replicas.first, cluster=None)) as client,
        pytest.raises(ConfigError, match="does not name its cluster"),
    ):
        save.save_predictions(client, PREDICTIONS, "m2", "by_hand", DAY)
