"""Test sweeps on a real ClickHouse and a real Ray: trials, their rows, the candidate and refusals."""

from __future__ import annotations

import json
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raypipe.artifact.package import unpack
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.load import Loaded, load_pipeline
from raypipe.config.matrix import CellPlan
from raypipe.demo.publisher import build
from raypipe.errors import ConfigError, DataError, ModelError, ServerError, UsageError
from raypipe.fit import recipe as recipes
from raypipe.fit.labelled import fit_version
from raypipe.fit.recipe import Recipe
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.registry.record import model_id
from raypipe.registry.trials import FinishedTrial
from raypipe.sweep import auto, journal, sampler, space, trial, tuner
from raypipe.sweep.brands import brand_called
from raypipe.sweep.matrix import load_cells, sweep_matrix
from raypipe.sweep.plan import SweepPlan
from raypipe.sweep.sweep import sweep_pipeline
from tests.conftest import PUBLISHER_DAYS, PUBLISHER_LAST_DATE, PUBLISHER_SEED, _fresh_database

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
    """Ignore progress."""


@pytest.fixture(scope="module")
def swept(filled: Publisher, ray_session: None) -> dict[str, Any]:
    return sweep_pipeline(filled.endpoint, filled.loaded(), "churn_done", silent)


def test_a_search_that_finds_nothing_better_keeps_the_settings_and_says_so() -> None:
    best = FinishedTrial("a", {"model.params.eta": 0.05}, {"metric": 0.8}, "")
    result = SimpleNamespace(trials=[best], best=best, default=best)
    plan: Any = SimpleNamespace(metric="auc")
    assert auto._changed({"eta": 0.05, "max_depth": 2}, plan, result) == {"eta": 0.05, "max_depth": 2}  # type: ignore[arg-type]
    assert "found none better" in auto._finding(plan, result)  # type: ignore[arg-type]


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
    with pytest.raises(UsageError, match="is finished"):
        sweep_pipeline(filled.endpoint, filled.loaded(), "churn_done", silent, resume=True)


class Planted:
    """Makes a folder when it is unpickled."""

    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.made),)


def killed(publisher: Publisher, name: str) -> str:
    """Make `name` look like the sweep `churn_done` killed in a trial, and return the trial's run id."""
    whole = whole_rows(publisher, "churn_done")
    best = max(whole.values(), key=lambda row: json.loads(row["validation_metrics"]).get("auc", 0))
    running = next(row for row in whole.values() if row["run_status"] == "COMPLETED" and row is not best)
    with Client(publisher.endpoint) as client:
        journal.begin(client, name, journal.state(client, "churn_done"))
        for run_id, row in whole.items():
            again = {"run_id": run_id.replace("churn_done", name), "status": row["run_status"]}
            if row is running:
                again["status"] = "RUNNING"
            client.run(
                "INSERT INTO ml_model_training_runs SELECT * REPLACE ({run_id:String} AS run_id,"
                " {model_id:String} AS model_id, {status:String} AS run_status)"
                " FROM (SELECT * FROM ml_model_training_runs FINAL WHERE run_id = {known:String})",
                {**again, "model_id": model_id("churn", again["run_id"]), "known": run_id},
            )
    return str(running["run_id"]).replace("churn_done", name)


def whole_rows(publisher: Publisher, name: str) -> dict[str, dict[str, Any]]:
    """All that is stored of each trial of a sweep, by run id."""
    with Client(publisher.endpoint) as client:
        data = client.table(
            "SELECT * FROM ml_model_training_runs FINAL WHERE startsWith(run_id, {name:String}) ORDER BY started_at",
            {"name": f"{name}_"},
        )
    return {row["run_id"]: row for row in data.to_pylist()}


def test_a_sweep_goes_on_from_its_rows_and_loads_no_pickle(
    filled: Publisher, swept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = killed(filled, "churn_killed")
    known = whole_rows(filled, "churn_killed")
    assert known[running]["run_status"] == "RUNNING"
    folder = filled.artifacts / "sweeps" / "churn_killed"
    folder.mkdir(parents=True)
    # Where Ray Tune would look for an experiment to restore.
    for name in ("tuner.pkl", "trainable.pkl", "experiment_state-2026-01-31_00-00-00.json", "search_gen_state-1.json"):
        (folder / name).write_bytes(pickle.dumps(Planted(tmp_path / name)))
    private = tmp_path / "private"
    private.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(private))
    try:
        document = sweep_pipeline(filled.endpoint, filled.loaded(), "churn_killed", silent, resume=True)
    finally:
        assert [path.name for path in tmp_path.iterdir()] == ["private"], "a pickle of the store was loaded"
    assert list(private.glob("raypipe_sweep_*")) == []
    after = whole_rows(filled, "churn_killed")
    # The trial that was running is fitted again, in its own row; no other row was touched.
    again, before = after.pop(running), known.pop(running)
    assert after == known
    assert (again["run_status"], again["hyperparameters"]) == ("COMPLETED", before["hyperparameters"])
    assert json.loads(again["validation_metrics"]) == json.loads(before["validation_metrics"])
    assert document["trials"]["done"] == TRIALS
    for what in ("values", "validation"):
        assert document["best"][what] == swept["best"][what]


def test_a_row_of_a_trial_that_was_changed_is_refused(filled: Publisher, swept: dict[str, Any]) -> None:
    with Client(filled.endpoint) as client:
        for name, column, content in (
            ("churn_changed", "hyperparameters", '{"model.class": "posix:system"}'),
            ("churn_emptied", "training_metrics", '{"rounds": 3, "rungs": [[5, "high"]]}'),
        ):
            killed(filled, name)
            client.run(
                f"INSERT INTO ml_model_training_runs SELECT * REPLACE ({{content:String}} AS {column})"
                " FROM ml_model_training_runs FINAL"
                " WHERE startsWith(run_id, {name:String}) AND run_status = 'COMPLETED'",
                {"content": content, "name": name},
            )
            with pytest.raises(DataError, match=r"was changed|no point of the sweep's space"):
                sweep_pipeline(filled.endpoint, filled.loaded(), name, silent, resume=True)


AXES = space.axes({"model.params.eta": {"float": [0, 1]}})
FIRST = {"model.params.eta": 0.5}


@pytest.fixture
def plan(filled: Publisher, client: Client) -> SweepPlan:
    recipe = replace(recipes.recipe_of(client, filled.loaded(), None), rounds=90)
    return SweepPlan("churn_wanted", recipe, AXES, "auc", 12, None, 1, 10)


def tried(at: int, *metrics: float, error: str = "") -> FinishedTrial:
    """A trial that reported so at 10, 30 and 90 rounds, as far as it came."""
    rungs = list(zip((10, 30, 90), metrics, strict=False))
    result = {"rounds": rungs[-1][0], "metric": metrics[-1], "metrics": {}, "final": len(metrics) == 3, "rungs": rungs}
    return FinishedTrial(f"t{at}", {"model.params.eta": at / 10}, {} if error else result, error)


def suggested(plan: SweepPlan, count: int, first: dict[str, float] | None = None, **earlier: Any) -> list[float]:
    """What Optuna suggests while nothing more is over."""
    searcher = sampler.suggester(plan, first, **earlier)
    return [searcher.suggest(f"new{at}")["model.params.eta"] for at in range(count)]


def test_a_sweep_that_goes_on_tries_what_was_unfinished_first_and_nothing_twice(plan: SweepPlan) -> None:
    fresh = suggested(plan, 6, FIRST)
    assert fresh[0] == 0.5
    over = [
        FinishedTrial(f"t{at}", {"model.params.eta": eta}, tried(1, 0.7).result, "") for at, eta in enumerate(fresh[:3])
    ]
    left = [{"model.params.eta": eta} for eta in fresh[3:5]]
    again = suggested(plan, 4, FIRST, finished=over, unfinished=left)
    assert again[:2] == fresh[3:5]
    assert not set(again[2:]) & set(fresh[:5])


def test_a_sweep_that_goes_on_searches_where_the_finished_trials_were_good(plan: SweepPlan) -> None:
    # The nearer to 0.65, the lower and so the better.
    plan = replace(plan, metric="log_loss")
    over = [tried(at, 0.1 + abs(at - 6.5) / 10) for at in range(11)]
    # The one that crashed has no metric, and is not taken for the best.
    finished = [*over[:1], tried(1, 0.0, error="it crashed"), *over[2:]]

    def near(earlier: list[FinishedTrial]) -> list[bool]:
        seeds = [replace(plan.recipe, shares=replace(plan.recipe.shares, seed=seed)) for seed in range(10)]
        plans = [replace(plan, recipe=recipe) for recipe in seeds]
        return [0.5 <= eta <= 0.8 for each in plans for eta in suggested(each, 1, finished=earlier)]

    assert sum(near([])) < 8
    assert all(near(finished))


@pytest.mark.parametrize(("metric", "expected"), [(0.61, "STOP"), (0.69, "CONTINUE")])
def test_a_trial_is_compared_with_those_of_before_the_interruption(
    plan: SweepPlan, metric: float, expected: str
) -> None:
    over = [tried(at, 0.6 + at / 100) for at in range(9)] + [tried(9, 0.2, error="it crashed")]
    scheduler, new = tuner.scheduler(plan, over), SimpleNamespace(trial_id="new")
    scheduler.on_trial_add(None, new)
    assert scheduler.on_trial_result(None, new, {"rounds": 10, "metric": metric}) == expected


def test_a_sweep_without_its_library_is_refused_before_anything_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ConfigError, match="Optuna, which is not installed") as caught:
        sampler.require_optuna()
    assert caught.value.next_step == "pip install 'optuna>=4' (the extra `sweep`)"


def test_a_matrix_goes_on_with_the_cells_that_it_began_with(filled: Publisher, client: Client, tmp_path: Path) -> None:
    cells = tmp_path / "brands.yaml"
    cells.write_text("pipelines: [churn]\nbrands: [The Northern Post]\n")
    planned = load_cells(cells, None, [f"artifacts={filled.artifacts}"], None, {})
    journal.begin(client, "brands_1", {"cells": [["churn × Money Daily"]]})
    with pytest.raises(ConfigError, match="not those that the matrix brands_1 began with"):
        sweep_matrix(filled.endpoint, planned, "brands_1", silent, resume=True)
    with pytest.raises(UsageError, match="no sweep 'brands_2'"):
        sweep_matrix(filled.endpoint, planned, "brands_2", silent, resume=True)
    with pytest.raises(UsageError, match="brands_1 is no sweep of one pipeline"):
        sweep_pipeline(filled.endpoint, filled.loaded(), "brands_1", silent, resume=True)


@pytest.mark.usefixtures("ray_session")
def test_a_resumed_matrix_keeps_its_day(filled: Publisher, client: Client, tmp_path: Path) -> None:
    cells = tmp_path / "one.yaml"
    cells.write_text("pipelines: [churn]\n")
    planned = load_cells(cells, None, [f"artifacts={filled.artifacts}", "sweep.trials=1"], None, {})
    journal.begin(client, "days_1", {"cells": [["churn", "sweep.trials=1"]], "days": ["2020-01-01"]})
    document = sweep_matrix(filled.endpoint, planned, "days_1", silent, as_of=PUBLISHER_LAST_DATE, resume=True)
    assert "as of 2020-01-01" in document["cells"][0]["error"]


@pytest.mark.usefixtures("ray_session")
def test_a_matrix_keeps_the_newest_day_of_each_cell_and_the_values_of_set(
    filled: Publisher, client: Client, tmp_path: Path
) -> None:
    cells = tmp_path / "one.yaml"
    cells.write_text("pipelines: [churn]\nset: {sweep.cpus: 64}\n")
    places = [f"artifacts={filled.artifacts}", "ray.cpus=2"]
    planned = load_cells(cells, None, [*places, "model.rounds=7"], None, {})
    document = sweep_matrix(filled.endpoint, planned, "days_2", silent)
    assert document["failed"] == ["churn"], "trials of 64 CPUs do not fit into the cluster"
    state = journal.state(client, "days_2")
    assert state["days"] == [PUBLISHER_LAST_DATE.isoformat()]
    assert "model.rounds=7" in state["cells"][0]
    other = load_cells(cells, None, [*places, "model.rounds=8"], None, {})
    with pytest.raises(ConfigError, match="not those that the matrix days_2 began with"):
        sweep_matrix(filled.endpoint, other, "days_2", silent, resume=True)


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


def test_a_sweep_whose_trials_all_crash_says_why_and_registers_nothing(
    filled: Publisher, swept: dict[str, Any], client: Client
) -> None:
    killed(filled, "churn_crashed")
    client.run(
        "INSERT INTO ml_model_training_runs SELECT * REPLACE ('FAILED' AS run_status, 'no max_depth' AS error_message)"
        " FROM (SELECT * FROM ml_model_training_runs FINAL WHERE startsWith(run_id, 'churn_crashed_'))"
    )
    versions = len(models.list_models(client, "churn"))
    with pytest.raises(ModelError, match=f"Every trial crashed: {TRIALS} of {TRIALS}") as caught:
        sweep_pipeline(filled.endpoint, filled.loaded(), "churn_crashed", silent, resume=True)
    assert caught.value.found == "no max_depth"
    assert len(models.list_models(client, "churn")) == versions
    assert journal.result(client, "churn_crashed") is None


def refused(publisher: Publisher, kind: type[Exception], match: str, *overrides: str) -> Exception:
    """The error of a sweep, which must leave nothing behind."""
    with pytest.raises(kind, match=match) as caught:
        sweep_pipeline(publisher.endpoint, publisher.loaded(*overrides), "churn_refused", silent)
    assert trial_rows(publisher, "churn_refused") == []
    with Client(publisher.endpoint) as client:
        assert not journal.has_begun(client, "churn_refused")
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


def plan_for(recipe: Recipe, dimensions: Mapping[str, Any]) -> SweepPlan:
    return SweepPlan("trial", recipe, space.axes(dimensions), "auc", 5, None, 1, 5)


@pytest.mark.usefixtures("ray_session")
def test_a_trial_never_reads_the_test_snapshot(filled: Publisher, client: Client) -> None:
    recipe = recipes.recipe_of(client, filled.loaded(), None)
    guarded = with_sql(recipe, f"throwIf({{date:Date}} = toDate('{recipe.test_date}'), 'the test snapshot') = 0")
    rows = trial.read(client, guarded, "raypipe_training_guarded")
    assert [part for part, *_ in rows.fingerprint] == ["train", "validation"]
    # A fit, which does read it, shows that the guard works.
    with pytest.raises(ServerError, match="395"):
        fit_version(client, guarded, "raypipe_training_guarded", None, silent)


def test_a_trial_says_how_it_does_at_its_rungs_and_at_its_end(filled: Publisher, client: Client) -> None:
    # Rungs at 5 and 15 rounds.
    recipe = replace(recipes.recipe_of(client, filled.loaded(), None), rounds=40)
    known = plan_for(recipe, {"model.params.eta": {"log": [0.01, 0.3]}})
    rows = trial.read(client, known.recipe, "raypipe_training_rungs")
    told: list[dict[str, Any]] = []
    trial.run_trial(
        known, filled.endpoint, rows, {"model.params.eta": 0.1, "features.drop": ["recency_share"]}, told.append
    )
    assert [(report["rounds"], report["final"]) for report in told[:-1]] == [(5, False), (15, False)]
    assert told[-1]["final"]
    assert told[-1]["rungs"] == [(report["rounds"], report["metric"]) for report in told[:-1]]
    assert told[-1]["metric"] == told[-1]["metrics"]["auc"] > 0.5


def test_a_parameter_of_the_sql_gives_a_trial_rows_of_its_own(filled: Publisher, client: Client) -> None:
    recipe = recipes.recipe_of(client, filled.loaded(), None)
    text = recipe.features_sql.text.replace(
        "toFloat32(days_since_last_session / tenure_days)",
        "toFloat32(days_since_last_session / tenure_days * ({known:UInt8} = 1))",
    )
    bound = with_sql(replace(recipe, features_sql=replace(recipe.features_sql, text=text)), "1", known=0)
    only = [feature for feature in bound.features if feature.name == "recency_share"]
    known = plan_for(replace(bound, features=only), {"parameters.known": {"choice": [0, 1]}})
    rows = trial.read(client, known.recipe, "raypipe_training_bound")
    told: list[dict[str, Any]] = []
    for value in (0, 1):
        trial.run_trial(known, filled.endpoint, rows, {"parameters.known": value}, lambda report: told.append(report))
    ends = [report["metric"] for report in told if report["final"]]
    assert ends[0] == pytest.approx(0.5)
    assert ends[1] > 0.55


def test_a_parameter_that_changes_which_entities_are_read_ends_its_trial(filled: Publisher, client: Client) -> None:
    recipe = with_sql(
        recipes.recipe_of(client, filled.loaded(), None), "total_sessions <= {most:UInt32}", most=1_000_000
    )
    known = plan_for(recipe, {"parameters.most": {"int": [10, 1_000_000]}})
    rows = trial.read(client, known.recipe, "raypipe_training_most")
    with pytest.raises(DataError, match="which entities are read"):
        trial.run_trial(known, filled.endpoint, rows, {"parameters.most": 20}, lambda report: None)
    assert client.rows("SELECT name FROM system.tables WHERE name LIKE 'raypipe_training_trial%'") == []


@pytest.mark.usefixtures("ray_session")
def test_a_version_scores_with_the_parameters_that_it_was_fitted_with(filled: Publisher, client: Client) -> None:
    recipe = with_sql(
        recipes.recipe_of(client, filled.loaded(), None), "total_sessions <= {most:UInt32}", most=1_000_000
    )
    fitted = fit_version(client, recipe, "raypipe_training_most", None, silent)
    assert unpack(fitted.files).contract.parameters == {"most": 1_000_000}


def test_a_brand_is_found_by_its_name_and_an_unknown_one_is_refused(filled: Publisher) -> None:
    cell = CellPlan("churn", "The Southern Post", None, None, ())
    with pytest.raises(UsageError, match="no entity of the brand") as caught:
        sweep_pipeline(filled.endpoint, filled.loaded(), "churn_refused", silent, cell=cell)
    assert "The Northern Post" in str(caught.value)


def test_a_name_of_several_brands_is_refused_with_their_ids() -> None:
    named = [("b1", "Daily", "DLY"), ("b2", "Weekly", ""), ("b3", "Daily", "D3")]
    for word, found in (("b1", "b1"), ("DLY", "b1"), ("Weekly", "b2"), ("D3", "b3")):
        assert brand_called(word, ["b1", "b2", "b3"], named, "churn") == found
    with pytest.raises(UsageError, match="churn has several brands") as caught:
        brand_called("Daily", ["b1", "b2", "b3"], named, "churn")
    assert caught.value.allowed == "b1, b3"
    # A brand without entities that the pipeline reads does not count.
    assert brand_called("Daily", ["b2", "b3"], named, "churn") == "b3"
    with pytest.raises(UsageError, match="no entity"):
        brand_called("", ["b1", "b2", "b3"], named, "churn")
