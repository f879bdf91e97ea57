"""Test a pipeline of three classes, from a config to published rows and its report, with examples/wine alone."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.schema.needed import needed
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.errors import DataError
from raypipe.fit import fit, registration
from raypipe.fit.fit import FitResult
from raypipe.score import score

EXAMPLE = Path(__file__).resolve().parents[3] / "examples" / "wine"
WINES = 178


@pytest.fixture
def loader() -> ModuleType:
    spec = importlib.util.spec_from_file_location("wine_load", EXAMPLE / "load.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def filled(client: Client, loader: ModuleType, tmp_path: Path) -> Loaded:
    wine = loaded(tmp_path)
    migrate(client, needed(wine.tables(), wine.sql_files()).declarations)
    loader.EXAMPLE.fill(client, loader.EXAMPLE.read(), replace=False)
    return wine


def loaded(folder: Path, *overrides: str) -> Loaded:
    known = (f"artifacts={folder / 'artifacts'}", "evaluate.bootstrap=20", "model.params={folds: 2}", *overrides)
    return load_pipeline("wine", EXAMPLE / "configs", known, environ={})


def fitted(database: Endpoint, wine: Loaded) -> FitResult:
    return fit.fit(database, wine, None, lambda *_: None)


def test_every_wine_is_published_once_with_a_probability_of_each_cultivar(
    client: Client, filled: Loaded, database: Endpoint
) -> None:
    result = fitted(database, filled)
    test = result.fitted.test
    assert (test["kind"], [entry["name"] for entry in test["classes"]]) == (
        "classes",
        ["barolo", "grignolino", "barbera"],
    )
    assert test["log_loss"]["value"] < result.fitted.baselines["prior"]["log_loss"]["value"] / 3
    # A first version may be refused on so few wines; that is not what this is about.
    registration.promote(client, result.version, "the first")
    run = score.score(database, filled, None, "latest", lambda *_: None)
    ((rows, wines, right, least, most),) = client.rows(
        "SELECT count(), uniqExact(entity_id), countIf(prediction_class = cultivar),"
        " min(arraySum(mapValues(chances))), max(arraySum(mapValues(chances)))"
        " FROM (SELECT *, JSONExtract(metadata, 'probabilities', 'Map(String, Float32)') AS chances"
        " FROM raypipe_current_predictions WHERE prediction_type = 'wine') AS published"
        " ANY INNER JOIN wines ON toString(wine_id) = entity_id"
        " WHERE abs(chances[prediction_class] - prediction_probability) < 1e-6 AND length(chances) = 3"
    )
    assert (rows, wines) == (WINES, WINES)
    assert right > 0.9 * WINES
    assert (least, most) == (pytest.approx(1, abs=1e-4), pytest.approx(1, abs=1e-4))
    report = load(filled.sql("wine/report.sql"))
    columns, values = client.named_rows(report.text, {"run_id": run.manifest.run_id})
    assert columns[:3] == ["cultivar", "prediction_class", "wines"]
    assert sum(row[2] for row in values) == WINES


@pytest.mark.parametrize(
    ("change", "message", "value"),
    [
        ("label.classes=[barolo, grignolino]", "yields classes that the config does not declare", "barbera"),
        ("label.classes=[barolo, grignolino, barbera, chianti]", "No training row has a class", "chianti"),
        ("label={kind: binary, classes: []}", "is not a number", "LowCardinality(String)"),
    ],
)
def test_labels_that_are_not_those_of_the_config_are_refused_by_name(
    filled: Loaded, database: Endpoint, tmp_path: Path, change: str, message: str, value: str
) -> None:
    with pytest.raises(DataError, match=message) as refused:
        fitted(database, loaded(tmp_path, change))
    assert value in str(refused.value.found)


@pytest.mark.parametrize(
    ("expression", "kind", "message", "found"),
    [
        ("toUInt8(1)", "binary", "a single class", "positives"),
        ("wine_id % 3", "binary", "declared binary", "2"),
        ("toUInt8(5)", "number", "the same number", "5"),
        ("if(wine_id % 9 = 0, NULL, wine_id % 2)", "binary", "labels that are not numbers", "NULL"),
    ],
)
def test_numbers_that_are_no_labels_are_refused_by_name(
    filled: Loaded, database: Endpoint, tmp_path: Path, expression: str, kind: str, message: str, found: str
) -> None:
    folder = tmp_path / "sql" / "wine"
    folder.mkdir(parents=True)
    (folder / "features.sql").write_text((EXAMPLE / "sql/wine/features.sql").read_text())
    (folder / "labels.sql").write_text(f"SELECT wine_id, {expression} AS label FROM wines WHERE {{slice}}")
    (tmp_path / "configs").mkdir()
    text = (EXAMPLE / "configs/wine.yaml").read_text().replace("kind: classes", f"kind: {kind}")
    text = text.replace("shared/classes.sql", "shared/values.sql")
    lines = [line for line in text.splitlines() if "classes:" not in line]
    (tmp_path / "configs/wine.yaml").write_text("\n".join(lines))
    wine = load_pipeline("wine", tmp_path / "configs", [f"artifacts={tmp_path / 'artifacts'}"], environ={})
    with pytest.raises(DataError, match=message) as refused:
        fitted(database, wine)
    assert found in str(refused.value.found)
