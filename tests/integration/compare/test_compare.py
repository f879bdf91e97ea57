"""Test baselines beside the champion of churn, on a real ClickHouse and a real Ray."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.artifact.files import Artifact
from raypipe.cli import app, settings
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.project import shipped
from raypipe.registry import champions, models
from raypipe.registry.record import CANDIDATE, Registered
from raypipe.registry.training_runs import newest
from tests.conftest import FittedPublisher
from tests.factories import model_record

LOGISTIC = "{name: logistic_regression, class: 'raypipe.models.sklearn:LogisticRegression', rounds: 200}"
FOREST = (
    "{name: random_forest, class: 'raypipe.models.sklearn:RandomForest', rounds: 10,"
    " params: {max_depth: 6, min_samples_leaf: 20}}"
)
MLP = "{name: mlp, class: 'raypipe.models.sklearn:MLP', rounds: 3, params: {hidden_layer_sizes: [8]}}"
REPORT = shipped() / "sql" / "baselines" / "report.sql"
BROKEN = "{name: broken, class: 'raypipe.models.sklearn:RandomForest', params: {leaves: 3}}"
FITTED = ("logistic_regression", "random_forest", "mlp")


@dataclass(frozen=True)
class Project:
    """A copy of the shipped configs and SQL that a test may change, on the fitted publisher."""

    publisher: FittedPublisher
    folder: Path

    def run(self, *arguments: str, only: tuple[str, ...] = (LOGISTIC,), sets: tuple[str, ...] = ()) -> Result:
        """A command with only these models, and few resamples."""
        overrides = [
            *self.publisher.overrides,
            "evaluate.bootstrap=20",
            f"baselines.models=[{', '.join(only)}]",
            *sets,
        ]
        named = [*arguments, "--config", str(self.folder / "configs")]
        read = [item for item in overrides if settings.reads(arguments[0], item.partition("=")[0])]
        named += [part for item in read for part in ("--set", item)]
        known = {key: value for key, value in self.publisher.environment().items() if key.startswith("RAYPIPE_")}
        return CliRunner().invoke(app, named, prog_name="raypipe", env=known)

    def document(self, *arguments: str, **options: Any) -> dict[str, Any]:
        result = self.run(*arguments, "--json", **options)
        assert result.exit_code == 0, result.stderr
        return dict(json.loads(result.stdout))


def _copied(publisher: FittedPublisher, folder: Path) -> Project:
    for part in ("configs", "sql"):
        shutil.copytree(shipped() / part, folder / part)
    return Project(publisher, folder)


@pytest.fixture
def project(fitted_publisher: FittedPublisher, tmp_path: Path) -> Project:
    return _copied(fitted_publisher, tmp_path)


@pytest.fixture(scope="module")
def reader(fitted_publisher: FittedPublisher) -> Iterator[Client]:
    with Client(fitted_publisher.endpoint) as client:
        yield client


@pytest.fixture(scope="module")
def champion(reader: Client) -> Registered:
    """The champion of churn, as it stands before anything is compared with it."""
    found = models.find_alias(reader, "churn", "champion")
    assert found is not None
    return found


@pytest.fixture(scope="module")
def compared(
    fitted_publisher: FittedPublisher, champion: Registered, tmp_path_factory: pytest.TempPathFactory
) -> Result:
    """All models, and one that cannot be fitted between them."""
    project = _copied(fitted_publisher, tmp_path_factory.mktemp("project"))
    return project.run("fit", "baselines", "--json", only=(LOGISTIC, BROKEN, FOREST, MLP))


@pytest.fixture(scope="module")
def document(compared: Result) -> dict[str, Any]:
    return dict(json.loads(compared.stdout))


def lines(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {line["name"]: line for line in document["models"]}


def training_runs(client: Client) -> list[tuple[Any, ...]]:
    """The runs of comparisons and their fits, in the order in which they began."""
    return client.rows(
        "SELECT run_name, run_type, run_status, error_message FROM ml_model_training_runs FINAL"
        " WHERE run_name LIKE 'baselines %' ORDER BY started_at, run_name"
    )


def test_a_model_that_fails_is_recorded_and_the_others_go_on(
    compared: Result, document: dict[str, Any], reader: Client
) -> None:
    assert compared.exit_code == 1
    assert document["failed"] == ["broken"]
    assert "leaves" in lines(document)["broken"]["error"]
    assert "error: broken could not be fitted" in compared.stderr
    assert set(lines(document)) == {*FITTED, "broken", "champion", "prior", "one_feature"}
    failed = reader.rows(
        "SELECT run_type, run_status, position(error_message, 'leaves') > 0 FROM ml_model_training_runs FINAL"
        " WHERE run_name LIKE 'baselines %.broken'"
    )
    assert failed == [("fit", "FAILED", 1)]


def test_every_model_is_a_candidate_with_its_features_and_its_run(document: dict[str, Any], reader: Client) -> None:
    registered = {model.version: model for model in models.list_models(reader, "baselines")}
    for name in FITTED:
        line = lines(document)[name]
        found = registered[line["model_version"]]
        assert (found.status, found.is_active, found.model_id) == (CANDIDATE, False, line["model_id"])
        assert found.version.endswith(f".{name}")
        assert found.evaluation["test"]["auc"] == line["metrics"]["auc"]
        assert not found.evaluation["decision"]["promote"]
        count = "SELECT count() FROM ml_model_features FINAL WHERE model_id = {id:String}"
        assert reader.value(count, {"id": found.model_id}) > 38
        its_fit = newest(reader, found.model_id, "fit")
        assert its_fit is not None
        assert its_fit.rows == tuple(document["rows"][part] for part in ("train", "validation", "test"))


def test_the_champion_stays_what_it_was(document: dict[str, Any], champion: Registered, reader: Client) -> None:
    assert document["champion"] == champion.version
    assert models.find_alias(reader, "churn", "champion") == champion
    assert models.find_alias(reader, "baselines", "champion") is None


def test_the_rows_are_the_very_same_as_the_champions(
    document: dict[str, Any], champion: Registered, reader: Client
) -> None:
    assert document["same_rows"] is True
    assert document["warnings"] == []
    its_fit = newest(reader, champion.model_id, "fit")
    assert its_fit is not None
    assert its_fit.rows == tuple(document["rows"][part] for part in ("train", "validation", "test"))
    again, then = lines(document)["champion"]["metrics"], champion.evaluation["test"]
    for metric in ("auc", "log_loss", "brier"):
        assert again[metric]["value"] == pytest.approx(then[metric]["value"], abs=1e-6)
    prior = lines(document)["prior"]["metrics"]
    assert prior["log_loss"]["value"] == pytest.approx(champion.evaluation["baselines"]["prior"]["log_loss"]["value"])


def test_a_difference_is_that_of_the_metric_with_its_interval(document: dict[str, Any]) -> None:
    found = lines(document)
    best = found["champion"]["metrics"]["auc"]["value"]
    for name in (*FITTED, "prior", "one_feature"):
        difference, auc = found[name]["difference"], found[name]["metrics"]["auc"]
        assert difference["value"] == pytest.approx(auc["value"] - best)
        assert difference["low"] <= difference["value"] <= difference["high"]
        assert auc["low"] <= auc["value"] <= auc["high"]
    assert found["champion"]["difference"] is None
    assert found["prior"]["metrics"]["auc"]["value"] == 0.5
    assert all(found[name]["seconds"] > 0 for name in (*FITTED, "champion"))
    values = [line["metrics"]["auc"]["value"] for line in document["models"] if line["metrics"]]
    assert values == sorted(values, reverse=True)


def test_a_comparison_that_stands_is_not_made_again_by_a_run(project: Project, reader: Client) -> None:
    made = project.document("run", "baselines", sets=("evaluate.bootstrap=10",))
    before = training_runs(reader)
    assert project.document("run", "baselines", sets=("evaluate.bootstrap=10",)) == made
    assert training_runs(reader) == before
    nightly = project.document("nightly", "--only", "baselines", sets=("evaluate.bootstrap=10",))
    assert [(step["pipeline"], step["status"], step["rows_published"]) for step in nightly["pipelines"]] == [
        ("baselines", "done", 1)
    ]
    assert training_runs(reader) == before
    names, rows = reader.named_rows(load(REPORT).text, {"pipeline": "baselines"})
    assert [row[names.index("name")] for row in rows] == [line["name"] for line in made["models"]]
    assert [row[names.index("auc")] for row in rows] == [line["metrics"]["auc"]["value"] for line in made["models"]]


def test_a_champion_that_was_fitted_on_other_rows_is_told(project: Project, document: dict[str, Any]) -> None:
    found = project.document("run", "baselines", sets=("split.seed=8", "evaluate.bootstrap=0"))
    assert found["same_rows"] is False
    assert found["rows"] != document["rows"]
    assert any("the champion was fitted on other rows" in text for text in found["warnings"])
    assert lines(found)["logistic_regression"]["difference"]["low"] is None


def test_the_night_tells_of_a_model_that_failed(project: Project) -> None:
    result = project.run("nightly", "--only", "baselines", "--json", only=(BROKEN,))
    assert result.exit_code == 1
    step = json.loads(result.stdout)["pipelines"][0]
    assert (step["pipeline"], step["status"], step["rows_published"]) == ("baselines", "failed", 0)
    assert "broken" in step["reason"]
    assert "leaves" in step["reason"]


def renamed(project: Project, name: str = "leaving") -> None:
    """A copy of churn that nobody has fitted yet."""
    text = (project.folder / "configs/churn.yaml").read_text()
    (project.folder / f"configs/{name}.yaml").write_text(text.replace("pipeline: churn", f"pipeline: {name}"))
    shutil.copytree(project.folder / "sql/churn", project.folder / "sql" / name)


def test_a_champion_whose_artifact_is_gone_is_a_warning(project: Project, reader: Client) -> None:
    renamed(project, "vanished")
    now = datetime.now(UTC)
    record = replace(model_record("1", now, Artifact(str(project.folder / "gone"), "ab"), "cd"), pipeline="vanished")
    champions.promote(reader, models.register(reader, record, now), "by hand", "a test", now)
    found = project.document("run", "baselines", sets=("baselines.of=vanished",))
    assert found["champion"] == ""
    assert any("the champion could not be compared on the same rows" in text for text in found["warnings"])
    assert lines(found).keys() == {"logistic_regression", "prior", "one_feature"}


def test_without_a_champion_the_models_are_compared_all_the_same(project: Project) -> None:
    renamed(project)
    result = project.run("run", "baselines", sets=("baselines.of=leaving",))
    assert result.exit_code == 0, result.stderr
    assert "baselines of leaving: no champion" in result.stdout
    assert "warning: leaving has no champion to compare with" in result.stdout
    found = project.document("run", "baselines", sets=("baselines.of=leaving",))
    assert (found["champion"], found["same_rows"]) == ("", None)
    assert set(lines(found)) == {"logistic_regression", "prior", "one_feature"}
    assert all(line["difference"] is None for line in found["models"])


def test_labels_of_one_class_end_the_comparison_and_are_recorded(project: Project, reader: Client) -> None:
    renamed(project)
    labels = project.folder / "sql/leaving/labels.sql"
    labels.write_text(
        "-- grain: (company_id, brand_id, user_id)\nSELECT company_id, brand_id, user_id, 1 AS label\n"
        "FROM customer_user_features WHERE feature_date = {date:Date} AND {slice} AND {until:Date} > {date:Date}"
    )
    registered = models.list_models(reader, "baselines")
    result = project.run("run", "baselines", "--json", sets=("baselines.of=leaving",))
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 1
    assert "The train part of the split: the rows hold a single class" in result.stderr
    assert "check labels.sql" in result.stderr
    last = [run for run in training_runs(reader) if run[0] == "baselines of leaving"][-1]
    assert last[1:3] == ("comparison", "FAILED")
    assert "a single class" in last[3]
    assert models.list_models(reader, "baselines") == registered
    assert reader.value("SELECT count() FROM system.tables WHERE name LIKE 'raypipe_training_baselines_%'") == 0


@pytest.mark.parametrize("command", ["score", "plan"])
def test_a_comparison_scores_nobody(project: Project, command: str) -> None:
    result = project.run(command, "baselines", "--json")
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 2
    assert "`raypipe run baselines`" in result.stderr


def test_a_pipeline_that_does_not_exist_is_refused(project: Project) -> None:
    result = project.run("run", "baselines", "--json", sets=("baselines.of=chrun",))
    assert json.loads(result.stdout)["error"]["code"] == result.exit_code == 2
    assert "baselines.of names a pipeline that does not exist" in result.stderr
    assert "'chrun'" in result.stderr
