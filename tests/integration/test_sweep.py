"""Sweeps on a real ClickHouse and a real Ray: trials, their rows, the candidate, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from raypipe import recipes, sweeps
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.migrate import migrate
from raypipe.config.load import Loaded, load_pipeline, shipped
from raypipe.demo.publisher import build
from raypipe.errors import ConfigError, DataError, ModelError, ServerError, UsageError
from raypipe.fit import space, trial
from raypipe.fit.fitting import fit_version
from raypipe.fit.recipe import Recipe
from raypipe.registry import models
from raypipe.registry.package import unpack
from tests.conftest import PUBLISHER_DAYS, PUBLISHER_LAST_DATE, PUBLISHER_SEED, _fresh_database

pytestmark = pytest.mark.once

USERS = 3000
# The second value is one that XGBoost refuses, so that some trials crash.
SPACE = (
    "{model.params.max_depth: {choice: [4, -5]}, model.params.eta: {log: [0.02, 0.3]},"
    " features.drop: {subset: [recency_share]}}"
)
TRIALS = 5


@dataclass(frozen=True)
class Publisher:
    endpoint: Endpoint
    artifacts: Path

    def loaded(self, *overrides: str, pipeline: str = "churn") -> Loaded:
        known = [
            f"artifacts={self.artifacts}",
            "evaluate.bootstrap=50",
            "model.rounds=60",
            # Too slow by far for so few rounds, so that there is something to find.
            "model.params.eta=0.0001",
            "model.params.max_depth=1",
            "sweep.grace_rounds=5",
            "sweep.space=",
            f"sweep.space={SPACE}",
            f"sweep.trials={TRIALS}",
        ]
        return load_pipeline(pipeline, shipped() / "configs", [*known, *overrides], environ={})


@pytest.fixture(scope="module")
def filled(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Publisher]:
    with _fresh_database(endpoint) as fresh:
        with Client(fresh) as client:
            migrate(client)
            build(client, users=USERS, days=PUBLISHER_DAYS, seed=PUBLISHER_SEED, last_date=PUBLISHER_LAST_DATE)
        yield Publisher(fresh, tmp_path_factory.mktemp("artifacts"))


def silent(stage: str, done: int, total: int) -> None:
    """Hears nothing."""


@pytest.fixture(scope="module")
def swept(filled: Publisher, ray_session: None) -> dict[str, Any]:
    return sweeps.run(filled.endpoint, sweeps.Cell(filled.loaded()), "churn_done", silent)


def trial_rows(publisher: Publisher, name: str) -> list[Mapping[str, Any]]:
    columns = (
        "run_id",
        "run_type",
        "run_status",
        "hyperparameters",
        "validation_metrics",
        "test_metrics",
        "error_message",
    )
    with Client(publisher.endpoint) as client:
        rows = client.rows(
            f"SELECT {', '.join(columns)} FROM ml_model_training_runs FINAL WHERE startsWith(run_id, {{name:String}})",
            {"name": name},
        )
    return [dict(zip(columns, row, strict=True)) for row in rows]


def test_each_trial_is_a_row_and_those_that_crash_say_why(filled: Publisher, swept: dict[str, Any]) -> None:
    rows = trial_rows(filled, "churn_done_")
    assert len(rows) == TRIALS == swept["trials"]["done"]
    assert {row["run_type"] for row in rows} == {"TUNING"}
    crashed = [row for row in rows if row["run_status"] == "FAILED"]
    assert len(crashed) == swept["trials"]["failed"] > 0
    for row in crashed:
        assert json.loads(row["hyperparameters"])["model.params.max_depth"] == -5
        assert "max_depth" in row["error_message"]
    for row in rows:
        if row["run_status"] != "FAILED":
            assert row["run_status"] == "COMPLETED"
            assert 0.5 < json.loads(row["validation_metrics"])["auc"] < 1


def test_the_best_of_the_trials_is_refitted_and_set_beside_the_default_with_intervals(
    filled: Publisher, swept: dict[str, Any]
) -> None:
    rows = [json.loads(row["validation_metrics"]).get("auc", 0) for row in trial_rows(filled, "churn_done_")]
    assert swept["best"]["validation"]["auc"] == pytest.approx(max(rows))
    for judged in (swept["best"]["test"], swept["default"]["test"]):
        assert judged["auc"]["low"] < judged["auc"]["value"] < judged["auc"]["high"]
    assert swept["comparison"]["rival"] == "default configuration"
    gain = swept["best"]["test"]["auc"]["value"] - swept["default"]["test"]["auc"]["value"]
    assert swept["comparison"]["difference"] == pytest.approx(gain)
    assert swept["comparison"]["low"] <= swept["comparison"]["difference"] <= swept["comparison"]["high"]


def test_the_best_is_a_candidate_with_its_evidence_and_no_more(filled: Publisher, swept: dict[str, Any]) -> None:
    with Client(filled.endpoint) as client:
        version = models.find(client, "churn", swept["model_version"])
        assert models.find_alias(client, "churn", "champion") is None
    assert version.status == "CANDIDATE" == swept["status"]
    assert version.evaluation["sweep"]["values"] == swept["best"]["values"]
    assert version.evaluation["sweep"]["comparison"] == swept["comparison"]


def test_no_table_of_a_trial_is_left(filled: Publisher, swept: dict[str, Any]) -> None:
    with Client(filled.endpoint) as client:
        tables = client.rows(
            "SELECT name FROM system.tables WHERE database = currentDatabase() AND name LIKE 'raypipe_training_%'"
        )
    assert tables == []


def test_a_sweep_that_is_over_cannot_go_on(filled: Publisher, swept: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is over"):
        sweeps.run(filled.endpoint, sweeps.Cell(filled.loaded()), "churn_done", silent, resume=True)


@pytest.mark.usefixtures("ray_session")
def test_more_trials_at_a_time_than_the_cluster_holds_are_refused(filled: Publisher) -> None:
    refused(filled, ConfigError, "does not fit", "sweep.concurrent=3")


@pytest.mark.usefixtures("ray_session")
def test_a_trial_of_more_cpus_than_the_cluster_has_is_refused(filled: Publisher) -> None:
    refused(filled, ConfigError, "does not fit", "sweep.cpus=64")


@pytest.mark.usefixtures("ray_session")
def test_a_metric_that_is_not_produced_is_refused(filled: Publisher) -> None:
    error = refused(filled, ConfigError, "not produced", "sweep.metric=rmse")
    assert "auc" in str(error)


def test_a_sweep_without_a_space_is_refused(filled: Publisher) -> None:
    refused(filled, ConfigError, "nothing to search", "sweep.space=", "sweep.space={}")


@pytest.mark.usefixtures("ray_session")
def test_a_sweep_whose_trials_all_crash_says_why_and_registers_nothing(filled: Publisher) -> None:
    space = "sweep.space={model.params.max_depth: {choice: [-5, -6]}}"
    with pytest.raises(ModelError, match="Every trial crashed") as caught:
        sweeps.run(
            filled.endpoint,
            sweeps.Cell(filled.loaded("sweep.space=", space, "sweep.trials=2", "model.params.max_depth=-5")),
            "churn_crashed",
            silent,
        )
    assert "max_depth" in str(caught.value)
    assert {row["run_status"] for row in trial_rows(filled, "churn_crashed_")} == {"FAILED"}


def refused(publisher: Publisher, kind: type[Exception], match: str, *overrides: str) -> Exception:
    """The error of a sweep, which must leave nothing behind."""
    with pytest.raises(kind, match=match) as caught:
        sweeps.run(publisher.endpoint, sweeps.Cell(publisher.loaded(*overrides)), "churn_refused", silent)
    assert trial_rows(publisher, "churn_refused") == []
    assert not (publisher.artifacts / "sweeps" / "churn_refused.json").exists()
    return caught.value


@pytest.fixture
def client(filled: Publisher) -> Iterator[Client]:
    with Client(filled.endpoint) as connected:
        yield connected


def with_sql(recipe: Recipe, condition: str, **parameters: int) -> Recipe:
    """The recipe whose features query has one more condition, and binds more."""
    text = recipe.features_sql.text.replace("AND {slice}", f"AND {condition} AND {{slice}}")
    assert text != recipe.features_sql.text
    snapshots = tuple(replace(item, parameters={**item.parameters, **parameters}) for item in recipe.snapshots)
    return replace(
        recipe, features_sql=replace(recipe.features_sql, text=text), snapshots=snapshots, parameters=parameters
    )


def trials_of(publisher: Publisher, recipe: Recipe, dimensions: Mapping[str, Any]) -> trial.Trials:
    return trial.Trials(
        publisher.endpoint, trial.unseeing(recipe), space.axes(dimensions), "auc", 1, (5, 15), "raypipe_training_trial"
    )


@pytest.mark.usefixtures("ray_session")
def test_a_trial_never_reads_the_test_snapshot(filled: Publisher, client: Client) -> None:
    recipe = recipes.recipe_of(client, filled.loaded(), None)
    guarded = with_sql(recipe, f"throwIf({{date:Date}} = toDate('{recipe.test_date}'), 'the test snapshot') = 0")
    rows = trial.read(client, trial.unseeing(guarded), "raypipe_training_guarded")
    assert [part for part, *_ in rows.fingerprint] == ["train", "validation"]
    # A fit, which does read it, shows that the guard works.
    with pytest.raises(ServerError, match="395"):
        fit_version(client, guarded, "raypipe_training_guarded", None, lambda message: None)


def test_a_trial_says_how_it_does_at_its_rungs_and_at_its_end(filled: Publisher, client: Client) -> None:
    recipe = recipes.recipe_of(client, filled.loaded(), None)
    known = trials_of(filled, recipe, {"model.params.eta": {"log": [0.01, 0.3]}})
    rows = trial.read(client, known.recipe, "raypipe_training_rungs")
    told: list[dict[str, Any]] = []
    trial.run(known, rows, {"model.params.eta": 0.1, "features.drop": ["recency_share"]}, told.append)
    assert [(report["rounds"], report["final"]) for report in told[:-1]] == [(5, False), (15, False)]
    assert told[-1]["final"]
    assert told[-1]["metric"] == told[-1]["metrics"]["auc"] > 0.5


def test_a_parameter_of_the_sql_gives_a_trial_rows_of_its_own(filled: Publisher, client: Client) -> None:
    recipe = recipes.recipe_of(client, filled.loaded(), None)
    text = recipe.features_sql.text.replace(
        "toFloat32(days_since_last_session / tenure_days)",
        "toFloat32(days_since_last_session / tenure_days * ({known:UInt8} = 1))",
    )
    bound = with_sql(replace(recipe, features_sql=replace(recipe.features_sql, text=text)), "1", known=0)
    only = [feature for feature in bound.features if feature.name == "recency_share"]
    known = trials_of(filled, replace(bound, features=only), {"parameters.known": {"choice": [0, 1]}})
    rows = trial.read(client, known.recipe, "raypipe_training_bound")
    told: list[dict[str, Any]] = []
    for value in (0, 1):
        trial.run(known, rows, {"parameters.known": value}, lambda report: told.append(report))
    ends = [report["metric"] for report in told if report["final"]]
    assert ends[0] == pytest.approx(0.5)
    assert ends[1] > 0.55


def test_a_parameter_that_changes_which_entities_are_read_ends_its_trial(filled: Publisher, client: Client) -> None:
    recipe = with_sql(
        recipes.recipe_of(client, filled.loaded(), None), "total_sessions <= {most:UInt32}", most=1_000_000
    )
    known = trials_of(filled, recipe, {"parameters.most": {"int": [10, 1_000_000]}})
    rows = trial.read(client, known.recipe, "raypipe_training_most")
    with pytest.raises(DataError, match="which entities are read"):
        trial.run(known, rows, {"parameters.most": 20}, lambda report: None)
    assert client.rows("SELECT name FROM system.tables WHERE name LIKE 'raypipe_training_trial%'") == []


@pytest.mark.usefixtures("ray_session")
def test_a_version_scores_with_the_parameters_that_it_was_fitted_with(filled: Publisher, client: Client) -> None:
    recipe = with_sql(
        recipes.recipe_of(client, filled.loaded(), None), "total_sessions <= {most:UInt32}", most=1_000_000
    )
    fitted = fit_version(client, recipe, "raypipe_training_most", None, lambda message: None)
    assert unpack(fitted.files).contract.parameters == {"most": 1_000_000}


def test_a_brand_is_found_by_its_name_and_an_unknown_one_is_refused(filled: Publisher) -> None:
    cell = sweeps.Cell(filled.loaded(), brand="The Southern Post")
    with pytest.raises(UsageError, match="no entity of the brand") as caught:
        sweeps.run(filled.endpoint, cell, "churn_refused", silent)
    assert "The Northern Post" in str(caught.value)
