"""Test a stored comparison as SQL reads it, among other runs."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.compare.comparison import Compared, Comparison
from raypipe.project import shipped
from raypipe.registry.training_runs import TrainingResult, TrainingRun, fail_run, finish_run, newest, start_run

STARTED = datetime(2026, 1, 31, 3, 0, tzinfo=UTC)
RUN = TrainingRun(
    "baselines_comparison_1",
    "11111111-1111-1111-1111-111111111111",
    "baselines of churn",
    STARTED,
    "comparison",
    {"champion": "v1"},
    "churn/features.sql @ 2025-11-02, 2025-12-02",
    "churn/features.sql @ 2025-11-02, 2025-12-02",
    "churn/features.sql @ 2026-01-01",
)


def _comparison(*lines: Compared) -> Comparison:
    rows = {"train": 60, "validation": 15, "test": 25}
    return Comparison("baselines", "churn", "v1", "rmse", date(2026, 1, 1), rows, True, lines, (), 9.5)


@pytest.fixture
def registry(client: Client) -> Client:
    migrate(client)
    return client


def _finished(client: Client, run: TrainingRun, comparison: Comparison) -> None:
    start_run(client, run)
    outcome = TrainingResult(60, 15, 25, test_metrics=comparison.to_json())
    finish_run(client, run, outcome, run.started_at + timedelta(minutes=1))


def test_the_last_run_of_a_kind_that_ended_well_is_found(registry: Client) -> None:
    assert newest(registry, RUN.model_id, "comparison") is None
    later = replace(RUN, run_id="baselines_comparison_2", started_at=STARTED + timedelta(hours=1))
    failed = replace(RUN, run_id="baselines_comparison_3", started_at=STARTED + timedelta(hours=2))
    running = replace(RUN, run_id="baselines_comparison_4", started_at=STARTED + timedelta(hours=3))
    for run in (RUN, later):
        _finished(registry, run, _comparison())
    fail_run(registry, failed, ValueError("broken"), failed.started_at)
    start_run(registry, running)
    assert newest(registry, RUN.model_id, "fit") is None
    found = newest(registry, RUN.model_id, "comparison")
    assert found is not None
    assert (found.run_id, found.rows, found.seconds) == (later.run_id, (60, 15, 25), 0)
    assert found.hyperparameters == RUN.hyperparameters
    assert found.dates == ("2025-11-02, 2025-12-02", "2025-11-02, 2025-12-02", "2026-01-01")
    assert found.test_date == date(2026, 1, 1)
    assert Comparison.from_json(found.test_metrics) == _comparison()


def test_the_report_has_a_row_a_line_and_leaves_empty_what_a_line_lacks(registry: Client) -> None:
    rmse = {"value": 3.5, "low": 3.0, "high": None}
    forest = Compared("forest", "model", "v2", "m2", {"rmse": rmse}, {"value": -0.5, "low": -1.0, "high": 0.0}, 2.5)
    broken = Compared("broken", "model", seconds=1.0, error="it has no 'leaves'")
    _finished(registry, RUN, _comparison(Compared("old", "rule", metrics={"rmse": rmse})))
    later = replace(RUN, run_id="baselines_comparison_2", started_at=STARTED + timedelta(hours=1))
    _finished(registry, later, _comparison(forest, broken))
    report = load(shipped() / "sql" / "baselines" / "report.sql")
    names, rows = registry.named_rows(report.text, {"pipeline": "baselines"})
    first, second = (dict(zip(names, row, strict=True)) for row in rows)
    assert (first["name"], first["kind"], first["version"], first["position"]) == ("forest", "model", "v2", 1)
    assert (first["rmse"], first["rmse_low"], first["rmse_high"], first["auc"]) == (3.5, 3.0, None, None)
    assert (first["difference"], first["difference_low"], first["difference_high"]) == (-0.5, -1.0, 0.0)
    assert (first["of"], first["metric"], first["test_date"]) == ("churn", "rmse", date(2026, 1, 1))
    assert (second["name"], second["seconds"], second["error"]) == ("broken", 1.0, "it has no 'leaves'")
    assert [second[name] for name in ("rmse", "difference", "auc")] == [None, None, None]
    assert registry.named_rows(report.text, {"pipeline": "others"})[1] == []
