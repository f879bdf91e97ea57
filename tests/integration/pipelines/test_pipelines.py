"""Test pipelines of only a config and a folder of SQL: fitted, evaluated and published whole."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import unsliced
from raypipe.fit import fit
from raypipe.fit.fit import FitResult
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.score import runs, score
from raypipe.score.score import ScoreResult
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.reach import require_within_reach

PIPELINES = ("conversion", "engagement")
TARGETS = {"conversion": "customer_conversion_predictions"}


def silent(stage: str, done: int, total: int) -> None:
    """Ignore progress."""


def loaded(publisher: FittedPublisher, pipeline: str) -> Loaded:
    # A third of the shipped rounds of boosted trees.
    quick = ("model.rounds=80", "model.params.eta=0.15") if pipeline == "engagement" else ()
    overrides = [*publisher.overrides, "evaluate.bootstrap=50", *quick]
    return load_pipeline(pipeline, shipped() / "configs", overrides, environ={})


@pytest.fixture(scope="module", params=PIPELINES)
def fitted(request: pytest.FixtureRequest, fitted_publisher: FittedPublisher) -> tuple[str, FitResult]:
    config = loaded(fitted_publisher, request.param)
    return request.param, fit.fit(fitted_publisher.endpoint, config, None, silent)


@pytest.fixture(scope="module")
def scored(fitted: tuple[str, FitResult], fitted_publisher: FittedPublisher) -> ScoreResult:
    config = loaded(fitted_publisher, fitted[0])
    return score.score(fitted_publisher.endpoint, config, PUBLISHER_LAST_DATE, "latest", silent)


@pytest.fixture
def reader(fitted_publisher: FittedPublisher) -> Iterator[Client]:
    with Client(fitted_publisher.endpoint) as client:
        yield client


def test_a_model_is_promoted_only_above_its_strongest_baseline(fitted: tuple[str, FitResult], reader: Client) -> None:
    pipeline, outcome = fitted
    metric, better = ("auc", max) if pipeline == "conversion" else ("rmse", min)
    own = outcome.fitted.test[metric]["value"]
    strongest = better(rule[metric]["value"] for rule in outcome.fitted.baselines.values() if metric in rule)
    assert outcome.fitted.decision.promote == (better(own, strongest) == own != strongest)
    assert (models.find_alias(reader, pipeline, CHAMPION) is not None) == outcome.fitted.decision.promote
    assert not [text for text in outcome.fitted.warnings if "alone" in text]
    if metric == "auc":
        assert 0.5 < own < 0.99


def test_a_model_is_not_better_than_what_can_be_reached(
    fitted: tuple[str, FitResult], fitted_publisher: FittedPublisher, reader: Client
) -> None:
    pipeline, outcome = fitted
    metric = "auc" if pipeline == "conversion" else "rmse"
    require_within_reach(reader, loaded(fitted_publisher, pipeline), outcome.fitted.test, metric)


def test_everybody_of_the_population_is_published_once_and_nobody_else(
    fitted: tuple[str, FitResult], scored: ScoreResult, fitted_publisher: FittedPublisher, reader: Client
) -> None:
    pipeline, _ = fitted
    config = loaded(fitted_publisher, pipeline)
    assert scored.outcome.run.status == runs.PUBLISHED
    population = unsliced(load(config.sql(f"{pipeline}/features.sql")).text)
    predictions = (
        "SELECT company_id, brand_id, entity_id AS user_id FROM ml_model_predictions"
        f" WHERE prediction_type = '{pipeline}' AND prediction_date = {{date:Date}}"
    )
    published = [predictions]
    if pipeline in TARGETS:
        published.append(
            f"SELECT company_id, brand_id, user_id FROM {TARGETS[pipeline]} WHERE prediction_date = {{date:Date}}"
        )
    values = {"date": PUBLISHER_LAST_DATE, "timezone": "UTC"}
    for select in published:
        sql = (
            "SELECT countIf(isNull(p.user_id)), countIf(isNull(s.user_id)), count(),"
            " uniqExact(s.company_id, s.brand_id, s.user_id)"
            f" FROM (SELECT company_id, brand_id, user_id FROM ({population})) AS s FULL JOIN ({select}) AS p"
            " USING (company_id, brand_id, user_id)"
        )
        ((missing, extra, joined, distinct),) = reader.rows(sql, values, {"join_use_nulls": 1})
        assert (missing, extra) == (0, 0)
        assert joined == distinct == scored.outcome.run.rows_published


def test_a_report_names_what_was_published(
    fitted: tuple[str, FitResult], scored: ScoreResult, fitted_publisher: FittedPublisher, reader: Client
) -> None:
    pipeline, _ = fitted
    config = loaded(fitted_publisher, pipeline)
    names, report = reader.named_rows(
        load(config.sql(f"{pipeline}/report.sql")).text,
        {"run_id": scored.manifest.run_id, "date": PUBLISHER_LAST_DATE},
    )
    assert len(report) == scored.outcome.run.rows_published
    for name in ("brand_name", "device_type_name", "country_name", "category_name"):
        assert all(row[names.index(name)] for row in report), name
    if pipeline in TARGETS:
        shown = ("company_id", "brand_id", "user_id", "conversion_tier", "conversion_value")
        stored = reader.rows(
            f"SELECT {', '.join(shown)} FROM {TARGETS[pipeline]} WHERE prediction_date = {{date:Date}}",
            {"date": PUBLISHER_LAST_DATE},
        )
        assert {tuple(row[names.index(name)] for name in shown) for row in report} == set(stored)
        assert any(value for *_, value in stored)
