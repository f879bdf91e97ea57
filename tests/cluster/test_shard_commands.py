"""Test the commands of a night on two shards, and what is refused there by name."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.dataset.sink import ClickHouseSink
from raypipe.errors import ConfigError
from raypipe.loaders import save
from tests.cluster.projects import Project, project
from tests.cluster.shards import CLUSTER, Shards

DAY = date(2026, 1, 31)
NAME = "publisher"
COUNTS = """
SELECT prediction_type, count(), uniqExact((company_id, brand_id, entity_id))
FROM raypipe_current_predictions GROUP BY 1 ORDER BY 1
"""
PIPELINES = ("churn", "conversion", "recommendation")


@pytest.fixture(scope="module")
def publisher(shards: Shards, tmp_path_factory: pytest.TempPathFactory) -> Project:
    address = shards.address(2, NAME)
    secret = {"RAYPIPE_PASSWORD_FILE": str(address.password_file)}
    made = project(tmp_path_factory.mktemp("project"), str(address), CLUSTER, secret)
    made.run("migrate")
    made.run("demo", "--users", "2000")
    return made


def night(publisher: Project) -> None:
    result = publisher.run("nightly", *(word for name in PIPELINES for word in ("--only", name)))
    steps = {step["pipeline"]: (step["status"], step["verified"]) for step in result["pipelines"]}
    assert steps == {"features": ("done", None), **dict.fromkeys(PIPELINES, ("done", True))}


def rows(shards: Shards, sql: str) -> list[list[tuple[Any, ...]]]:
    """Return the answers of both nodes, as their users get them."""
    answers = []
    for number in (1, 2):
        with Client(replace(shards.address(number, NAME), cluster=None)) as client:
            answers.append(client.rows(sql))
    return answers


def test_two_nights_and_a_rollback_leave_every_reader_once(shards: Shards, publisher: Project) -> None:
    night(publisher)
    night(publisher)
    version = publisher.run("fit", "churn", "--set", "model.rounds=20")["model_version"]
    publisher.run("models", "promote", "churn", version, "--reason", "a test")
    publisher.run("score", "churn")
    back = publisher.run("rollback", "churn")
    assert [day["same_population"] for day in back["days"]] == [True]
    publisher.run("verify", "--date", "latest")
    keys = "(prediction_type, company_id, brand_id, entity_id)"
    counts = (
        f"SELECT prediction_type, count(), uniqExact({keys}) FROM raypipe_current_predictions GROUP BY 1 ORDER BY 1"
    )
    one, other = rows(shards, counts)
    assert one == other
    assert {kind for kind, *_ in one} >= {"churn", "conversion"}
    assert [entry for entry in one if entry[1] != entry[2]] == []
    checks = {check["name"]: check["status"] for check in publisher.run("doctor")["checks"]}
    assert checks["leftovers"] == checks["published rows"] == "ok", checks


def test_a_sweep_fits_its_trials_on_the_rows_of_both_shards(publisher: Project) -> None:
    result = publisher.run("sweep", "churn", "--trials", "2", "--set", "model.rounds=20")
    assert result["trials"]["done"] == 2


def test_predictions_of_other_programs_are_refused(shards: Shards, publisher: Project) -> None:
    predictions = pa.table(
        {"company_id": ["c"], "brand_id": ["b"], "entity_id": ["u"], "prediction_probability": [0.5]},
    )
    address = shards.address(1, NAME)
    with (
        connected(publisher.url, address.password_file, cluster=CLUSTER) as endpoint,
        Client(endpoint) as client,
        pytest.raises(ConfigError, match="on several shards"),
    ):
        save.save_predictions(client, predictions, "m1", "by_hand", DAY)
    assert rows(shards, "SELECT count() FROM ml_model_predictions WHERE model_id = 'm1'") == [[(0,)], [(0,)]]


def test_a_sink_into_a_table_on_both_shards_is_refused(shards: Shards, publisher: Project) -> None:
    for cluster in (CLUSTER, None):
        with connected(publisher.url, shards.address(1, NAME).password_file, cluster=cluster) as endpoint:
            sink = ClickHouseSink("ml_model_predictions", endpoint, run="once")
            with pytest.raises(ConfigError, match="is on several shards"):
                sink.on_write_start()
