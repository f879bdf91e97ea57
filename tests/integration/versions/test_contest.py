"""Test versions from fit to promotion by evidence, on the same test rows of a custom table."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.artifact import files
from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import matrix
from raypipe.artifact.freeze import freeze
from raypipe.artifact.package import Package, load_package, pack
from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.config.load import load_pipeline
from raypipe.data.slices import unsliced
from raypipe.fit import recipe as recipes
from raypipe.fit import registration
from raypipe.fit.training_table import read_part, written
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec
from raypipe.models.xgboost import XGBoost
from raypipe.project import shipped
from raypipe.registry import aliases, models
from raypipe.registry.models import ModelRecord

DAYS = [date(2026, 1, 3) + timedelta(days=7 * week) for week in range(5)]
PEOPLE = 1_500
CONFIG = """
pipeline: leavers
description: Who leaves within a week.
entity: {type: person, keys: [person], id: person}
source: {table: people, date_column: day, snapshot: false}
features: [{name: visits}, {name: noise}]
label: {horizon_days: 7, kind: binary, never_features: [leaves]}
model: {class: 'raypipe.models.xgboost:XGBoost', params: {objective: 'binary:logistic'}, rounds: 10}
publish: [{target: ml_model_predictions, sql: shared/predictions.sql}]
"""
FEATURES = "-- grain: person\nSELECT person, visits, noise FROM people WHERE day = {date:Date} AND {slice}"
LABELS = "-- grain: person\nSELECT person, leaves AS label FROM people WHERE day = {date:Date} AND {slice}"
GOOD, POOR, TWIN = "20260131.000000.aaaaaa", "20260131.000000.bbbbbb", "20260131.000000.cccccc"
# Fitted with other `parameters`, so that its rows may be others.
OTHER = "20260131.000000.dddddd"


@dataclass(frozen=True)
class Contest:
    """A project with versions that look at the telling column, or at noise."""

    client: Client
    folder: Path

    def command(self, *arguments: str) -> Result:
        known = {"RAYPIPE_URL": str(self.client.endpoint), "RAYPIPE_ARTIFACTS": str(self.folder / "artifacts")}
        if self.client.endpoint.password_file:
            known["RAYPIPE_PASSWORD_FILE"] = self.client.endpoint.password_file
        named = [*arguments, "--config", str(self.folder / "configs"), "--json"]
        return CliRunner().invoke(app, named, prog_name="raypipe", env=known)

    def champion(self) -> str:
        named = aliases.current(self.client, "leavers", "champion")
        return named.version if named else ""


@pytest.fixture
def versions(client: Client, tmp_path: Path) -> Contest:
    migrate(client)
    client.run(
        "CREATE TABLE people (day Date, person String, visits UInt32, noise Float32, leaves UInt8)"
        " ENGINE = MergeTree ORDER BY (day, person)"
    )
    # Who came seldom leaves more often; whoever would leave by noise alone does so at random.
    client.run(
        "INSERT INTO people SELECT arrayJoin({days:Array(Date)}) AS day, concat('p', toString(number)),"
        " cityHash64(number, day, 1) % 40 AS seen, (cityHash64(number, day, 2) % 1000) / 1000,"
        " cityHash64(number, day, 3) % 40 > seen FROM numbers({people:UInt32})",
        {"days": DAYS, "people": PEOPLE},
    )
    shutil.copytree(shipped() / "configs", tmp_path / "configs")
    (tmp_path / "configs" / "leavers.yaml").write_text(CONFIG)
    (tmp_path / "sql" / "leavers").mkdir(parents=True)
    (tmp_path / "sql" / "leavers" / "features.sql").write_text(FEATURES)
    (tmp_path / "sql" / "leavers" / "labels.sql").write_text(LABELS)
    for version, column in ((GOOD, "visits"), (POOR, "noise"), (TWIN, "visits")):
        _register(client, tmp_path, version, column)
    return Contest(client, tmp_path)


def _register(client: Client, folder: Path, version: str, column: str) -> None:
    """A version fitted on the first snapshot that may use one column only."""
    loaded = load_pipeline("leavers", folder / "configs", environ={})
    config, features = loaded.config, unsliced(load(loaded.sql("leavers/features.sql")).text)
    bound = {"date": DAYS[0]}
    contract = freeze(client, config.features, config.entity.keys, (), features, [bound], "features.sql")
    contract = replace(contract, parameters={"window": 7} if version == OTHER else {})
    data = client.table(
        f"SELECT x, l.label AS y FROM ({contract.select(features)}) AS f JOIN (SELECT person, leaves"
        " AS label FROM people WHERE day = {date:Date}) AS l USING (person)",
        bound,
    )
    x = matrix(data.column("x"), 2)
    seen = x.copy()
    seen[:, 1 - contract.columns.index(column)] = 0
    rows = Matrix(seen, data.column("y").to_numpy().astype(np.float32))
    params = {"objective": "binary:logistic", "max_depth": 2}
    model, _ = XGBoost().fit(rows, rows, FitSpec(contract.columns, contract.monotone, params, rounds=10, kind="binary"))
    package = Package(config.model.class_path, contract, fit_bins(x, model.predict(x)), 0.5, (), model)
    stored = files.save(str(folder / "artifacts"), pack(package, x, {"version": version}))
    at = datetime(2026, 2, 1, tzinfo=UTC)
    record = ModelRecord(
        "leavers",
        version,
        "CANDIDATE",
        "classification",
        "xgboost",
        "trees",
        "ubj",
        at,
        artifact_uri=stored.uri,
        artifact_sha256=stored.sha256,
        contract_sha256=contract.sha256,
    )
    models.register(client, record, at)


def test_a_version_that_is_better_on_the_same_rows_is_promoted_and_the_evidence_is_its_reason(
    versions: Contest,
) -> None:
    assert versions.command("models", "promote", "leavers", POOR, "--reason", "the first").exit_code == 0
    result = versions.command("models", "promote", "leavers", GOOD, "--if-better")
    assert result.exit_code == 0, result.stderr
    decision = json.loads(result.stdout)["decision"]
    assert (decision["promote"], decision["rival"], decision["metric"]) == (True, "champion", "auc")
    assert 0.1 < decision["low"] <= decision["difference"] <= decision["high"]
    (period, *_) = aliases.history(versions.client, "leavers", "champion")
    assert (period.assignment.version, period.assignment.reason) == (GOOD, decision["reason"])


def test_an_experiment_of_two_versions_scores_both_in_one_pass_and_is_stored(
    versions: Contest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second read, for versions with other columns, is not needed."""
    assert versions.command("models", "promote", "leavers", POOR, "--reason", "the first").exit_code == 0
    path = versions.folder / "configs" / "experiments" / "versions.yaml"
    path.write_text(f"models: {{pipeline: leavers, treatment: {GOOD}}}\n")
    monkeypatch.setattr("raypipe.fit.evidence.scores_of", None)
    result = versions.command("abtest", "versions")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["control"], document["treatment"], document["winner"]) == (POOR, GOOD, GOOD)
    assert document["values"]["treatment"] > document["values"]["control"] + 0.1
    assert 0.1 < document["difference"]["low"] < document["difference"]["high"]
    ((code, winner, low),) = versions.client.rows(
        "SELECT test_code, winning_model_id, JSONExtractFloat(metadata, 'difference', 'low') FROM ml_model_ab_tests"
    )
    assert (code, winner) == ("versions", models.find(versions.client, "leavers", GOOD).model_id)
    assert low == pytest.approx(document["difference"]["low"])
    path.write_text("models: {pipeline: leavers, treatment: champion}\n")
    assert "compares a version with itself" in versions.command("abtest", "versions").stderr


def champions(client: Client) -> list[aliases.Period]:
    """Return the history of champions; a refused version is a challenger, as its challenge counts."""
    return [period for period in aliases.history(client, "leavers") if period.assignment.alias == aliases.CHAMPION]


@pytest.mark.parametrize("version", [POOR, TWIN])
def test_a_version_that_is_not_shown_to_be_better_stays_what_it_is(versions: Contest, version: str) -> None:
    assert versions.command("models", "promote", "leavers", GOOD, "--reason", "the first").exit_code == 0
    before = champions(versions.client)
    result = versions.command("models", "promote", "leavers", version, "--if-better")
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 3
    assert "not better than the champion by more than noise" in result.stderr
    assert champions(versions.client) == before
    assert models.find(versions.client, "leavers", version).status != "PRODUCTION"


def test_without_a_champion_there_is_nothing_to_compare_with(versions: Contest) -> None:
    result = versions.command("models", "promote", "leavers", GOOD, "--if-better")
    assert (result.exit_code, versions.champion()) == (2, "")
    assert "no champion to compare" in result.stderr


@pytest.mark.parametrize(
    ("file", "condition", "said"),
    [
        ("features", "rand() % 2 = 0", "do not see the same test rows"),
        ("labels", "person = 'nobody'", "There are no rows for the test part"),
    ],
)
def test_versions_are_not_compared_on_other_rows_or_on_none(
    versions: Contest, file: str, condition: str, said: str
) -> None:
    _register(versions.client, versions.folder, OTHER, "noise")
    assert versions.command("models", "promote", "leavers", OTHER, "--reason", "the first").exit_code == 0
    path = versions.folder / "sql" / "leavers" / f"{file}.sql"
    path.write_text(f"{path.read_text()} AND {condition}")
    result = versions.command("models", "promote", "leavers", GOOD, "--if-better")
    assert (result.exit_code, versions.champion()) == (1, OTHER)
    assert said in result.stderr


def test_the_rows_are_those_that_the_split_sets_aside_on_the_newest_labelled_day(versions: Contest) -> None:
    loaded = load_pipeline("leavers", versions.folder / "configs", environ={})
    recipe = recipes.recipe_of(versions.client, loaded, None)
    model = models.find(versions.client, "leavers", GOOD)
    package = load_package(model.artifact_uri, model.artifact_sha256, versions.client)
    with written(versions.client, recipe, package.contract, "raypipe_training_tested", ("test",)) as table:
        rows = read_part(versions.client, table, "test")
    assert recipe.test_date == DAYS[-2]
    seen = versions.client.rows(
        "SELECT visits, leaves FROM people WHERE day = {day:Date}"
        " AND sipHash64({seed:UInt64}, person) / 18446744073709551616. < {share:Float64}",
        {"day": DAYS[-2], "seed": recipe.shares.seed, "share": recipe.shares.test},
    )
    assert 0 < len(seen) < PEOPLE
    assert sorted(zip(rows.x[:, 0].tolist(), rows.y.tolist(), strict=True)) == sorted(seen)


def test_a_version_is_training_until_its_fit_fails(versions: Contest) -> None:
    loaded = load_pipeline("leavers", versions.folder / "configs", environ={})
    recipe = recipes.recipe_of(versions.client, loaded, None)
    attempt = registration.begin(recipe, datetime.now(UTC))

    def status() -> str:
        return models.find(versions.client, "leavers", attempt.version).status

    def fail() -> None:
        assert status() == "TRAINING"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), registration.in_training(versions.client, attempt, recipe):
        fail()
    assert status() == "FAILED"
    result = versions.command("models", "promote", "leavers", attempt.version, "--reason", "x")
    assert (result.exit_code, "has no artifact" in result.stderr) == (1, True)
    assert models.find(versions.client, "leavers", "latest").version == TWIN


def test_a_fit_on_drifted_features_is_refused_with_the_difference_before_it_begins(versions: Contest) -> None:
    assert versions.command("models", "promote", "leavers", GOOD, "--reason", "the first").exit_code == 0
    drifted = FEATURES.replace("visits, noise", "toFloat64(visits) AS visits, noise AS hum")
    (versions.folder / "sql" / "leavers" / "features.sql").write_text(drifted)
    (versions.folder / "configs" / "leavers.yaml").write_text(CONFIG.replace("{name: noise}", "{name: hum}"))
    result = versions.command("fit", "leavers")
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 1
    difference = "visits: Float64 instead of UInt32; noise: missing instead of Float32; hum: added, Float32"
    assert difference in result.stderr
    assert "raypipe fit --changed-contract" in result.stderr
    assert versions.client.value("SELECT count() FROM ml_model_training_runs") == 0
    assert len(models.list_models(versions.client, "leavers")) == 3
