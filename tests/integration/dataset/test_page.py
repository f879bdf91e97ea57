"""Test the program of docs/ray-data.md as it stands, and the parts that it is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray.data

import raypipe
from raypipe.artifact.contract import matrix
from raypipe.artifact.package import load_package
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.config.load import load_pipeline
from raypipe.data.slices import unsliced
from raypipe.errors import DataError, UsageError
from raypipe.project import shipped
from raypipe.registry import models
from tests.conftest import FittedPublisher

PAGE = Path(__file__).parents[3] / "docs" / "ray-data.md"
DAY = "2026-01-31"
KEYS = ("company_id", "brand_id", "user_id")
TABLE = "churn_scores"


def block(language: str) -> str:
    """Return the only block of a language on the page."""
    (text,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return str(text)


@pytest.fixture
def client(fitted_publisher: FittedPublisher, ray_session: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    """Connect to the fitted publisher, as the environment of the program does."""
    for name, value in fitted_publisher.environment().items():
        monkeypatch.setenv(name, value)
    with Client(fitted_publisher.endpoint) as connected:
        connected.run(block("sql"))
        yield connected
        for table in (TABLE, "raypipe_writes"):
            connected.run(f"DROP TABLE IF EXISTS {table} SYNC")
        connected.run(next(item.ddl for item in _schema() if item.name == "raypipe_writes"))


def _schema() -> Any:
    from raypipe.clickhouse.schema.migrate import schema

    return schema()


def scored(client: Client) -> dict[tuple[str, ...], float]:
    """Return the score of every entity, computed in one piece."""
    model = models.find(client, "churn", "champion")
    package = load_package(model.artifact_uri, model.artifact_sha256, client)
    loaded = load_pipeline("churn", shipped() / "configs", environ={})
    sql = package.contract.select(unsliced(load(loaded.sql("churn/features.sql")).text))
    rows = client.table(sql, {"date": DAY, **package.contract.parameters})
    scores = package.model.predict(matrix(rows.column("x"), len(package.contract.columns)))
    keys = zip(*(rows.column(name).to_pylist() for name in KEYS), strict=True)
    return dict(zip(keys, scores.tolist(), strict=True))


def test_the_program_of_the_page_writes_every_score_once(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    program = compile(block("python"), str(PAGE), "exec")
    exec(program, {})
    rows = client.rows(f"SELECT {', '.join(KEYS)}, score, model_version, prediction_date FROM {TABLE}")
    expected = scored(client)
    found = {tuple(row[:3]): row[3] for row in rows}
    assert len(rows) == len(found) == len(expected) > 1000
    assert found.keys() == expected.keys()
    assert np.allclose([found[key] for key in expected], list(expected.values()), atol=1e-6)
    assert {row[4] for row in rows} == {models.find(client, "churn", "champion").version}
    exec(program, {})
    assert "this write changed nothing" in caplog.text
    assert client.value(f"SELECT count() FROM {TABLE}") == len(rows)


def test_the_features_of_a_day_without_a_snapshot_are_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="2020-01-01"):
        raypipe.read_features("churn", "2020-01-01", client.endpoint)


def test_a_version_that_does_not_exist_is_refused(client: Client) -> None:
    with pytest.raises(UsageError, match="no model 'nobody'"):
        raypipe.read_features("churn", DAY, client.endpoint, version="nobody")


def batch(client: Client) -> pa.Table:
    return next(
        iter(raypipe.read_features("churn", DAY, client.endpoint).iter_batches(batch_format="pyarrow", batch_size=50))
    )


def test_the_scorer_loads_its_model_once(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    from raypipe.dataset import scorer

    loads: list[str] = []
    load_once = scorer.load_package
    monkeypatch.setattr(
        scorer, "load_package", lambda uri, *given, **named: loads.append(uri) or load_once(uri, *given, **named)
    )
    own, rows = raypipe.Scorer("churn", client.endpoint), batch(client)
    assert rows.column("day_end")[0].as_py() == datetime(2026, 2, 1, tzinfo=UTC)
    first, second = own(rows), own(rows.slice(0, 10))
    assert len(loads) == 1
    assert first.slice(0, 10).equals(second)
    assert first.schema.names == [*KEYS, *_carried(), "score", "model_version", "prediction_date"]


def _carried() -> list[str]:
    return list(load_pipeline("churn", shipped() / "configs", environ={}).config.carry)


def test_rows_of_another_source_are_refused_by_the_scorer(client: Client) -> None:
    with pytest.raises(DataError, match=r"needs the rows of raypipe\.read_features"):
        raypipe.Scorer("churn", client.endpoint)(batch(client).drop_columns(["x"]))


def test_rows_of_two_days_in_one_batch_are_refused(client: Client) -> None:
    rows = batch(client)
    place = rows.schema.get_field_index("model_version")
    later = rows.set_column(place, rows.schema.field(place), pa.array(["another"] * len(rows)))
    with pytest.raises(DataError, match="several values of model_version"):
        raypipe.Scorer("churn", client.endpoint)(pa.concat_tables([rows, later]))


def test_a_score_outside_its_range_is_null(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    own, rows = raypipe.Scorer("churn", client.endpoint), batch(client)
    own(rows)
    assert own._package is not None
    monkeypatch.setattr(type(own._package.model), "predict", lambda model, x: np.full(len(x), np.nan, np.float32))
    assert own(rows).column("score").null_count == len(rows)


def test_ray_is_imported_only_when_it_is_needed() -> None:
    import subprocess
    import sys

    script = "import sys, raypipe; assert not {'ray', 'pyarrow', 'numpy'} & set(sys.modules), 'import raypipe is slow'"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert ray.data
