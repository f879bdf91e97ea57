"""Test the alerts of nights on real tables: stored, not repeated, resolved, sent later, and listed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from raypipe.alerts import alerts, prometheus
from raypipe.alerts.alerts import Review
from raypipe.alerts.reading import Outcome
from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.config.alerts import Alerts, Prometheus, Receiver, Rule
from raypipe.config.shared import SharedConfig
from tests.hooks import Hook, hook

FIRST = date(2026, 1, 1)
DONE = Outcome("churn", True, 1.0)
RULES: dict[str, Rule | None] = {
    "failed": Rule(metric="failed", above=0, severity="critical"),
    "low": Rule(metric="auc", below=0.7, nights=2),
    "gap": Rule(metric="performance_gap", above=0),
    "estimate": Rule(metric="estimated_auc", below=0.5, slices=True),
    "score_drift": Rule(metric="score_drift", slices=True),
}


@pytest.fixture
def server() -> Iterator[Hook]:
    with hook() as running:
        yield running


@pytest.fixture
def tables(database: Endpoint) -> Endpoint:
    with Client(database) as client:
        migrate(client)
    return database


def config(server: Hook, **rules: Rule | None) -> dict[str, SharedConfig]:
    receiver = Receiver(form="alertmanager", url=server.url)
    return {"churn": SharedConfig(alerts=Alerts(rules={**RULES, **rules}, receivers={"hook": receiver}))}


def performed(place: Endpoint, day: int, value: float, metric: str = "auc", **columns: Any) -> None:
    """Write a row as the validation does."""
    row = {"pipeline": "churn", "date": FIRST + timedelta(days=day), "kind": "measured", "run_id": f"run_{day}"}
    with Client(place) as client:
        client.insert_rows("raypipe_performance", [{**row, "metric": metric, "value": value, **columns}])


def night(place: Endpoint, server: Hook, outcome: Outcome = DONE, **rules: Rule | None) -> Review:
    reviewed = alerts.review(place, config(server, **rules), [outcome])
    assert reviewed.warnings == ()
    return reviewed


def names(found: tuple[alerts.Alert, ...]) -> list[str]:
    return [alert.rule for alert in found]


def test_a_failed_night_is_an_alert_until_it_is_done(tables: Endpoint, server: Hook) -> None:
    failed = Outcome("churn", False, 1.0, "The lock is held\n  found: a run")
    first = night(tables, server, failed)
    assert (names(first.open), names(first.opened)) == (["failed"], ["failed"])
    second = night(tables, server, failed)
    assert (names(second.open), names(second.opened)) == (["failed"], [])
    third = night(tables, server)
    assert (names(third.open), names(third.resolved)) == ([], ["failed"])
    assert night(tables, server) == Review()
    sent = [(entry["status"], entry["labels"]["alertname"]) for r in server.requests for entry in r.json()["alerts"]]
    assert sent == [("firing", "failed"), ("resolved", "failed")]
    assert "The lock is held" in server.requests[0].json()["alerts"][0]["annotations"]["summary"]


def test_performance_counts_by_its_dates_and_not_by_nights(tables: Endpoint, server: Hook) -> None:
    performed(tables, 0, 0.6)
    assert night(tables, server).open == ()
    # The same predictions, judged on another night.
    assert night(tables, server).open == ()
    performed(tables, 1, 0.65)
    (alert,) = night(tables, server).open
    assert alert.message == "churn: auc is 0.65, below 0.7, since 2026-01-01, 2 dates (predictions of 2026-01-02)"


def test_a_gap_an_estimate_and_another_tool(tables: Endpoint, server: Hook) -> None:
    performed(tables, 0, 0.02, "performance_gap")
    performed(tables, 5, 0.4, kind="estimated", slice_column="brand_id", slice_value="b1")
    performed(tables, 9, 0.1, run_id="", model_version="their own")
    reviewed = night(tables, server, low=None)
    assert names(reviewed.open) == ["estimate", "gap"]
    assert "estimated_auc where brand_id is b1 is 0.4" in reviewed.open[0].message


def test_a_receiver_that_was_down_gets_its_alerts_the_next_night(tables: Endpoint, server: Hook) -> None:
    performed(tables, 0, 0.02, "performance_gap")
    server.behaviour = 503
    (warning,) = alerts.review(tables, config(server), [DONE]).warnings
    assert "HTTP 503" in warning
    server.behaviour = 200
    assert names(night(tables, server).open) == ["gap"]
    assert [len(request.json()["alerts"]) for request in server.requests] == [1, 1]


def test_without_tables_the_failed_night_is_sent_all_the_same(database: Endpoint, server: Hook) -> None:
    reviewed = alerts.review(database, config(server), [Outcome("churn", False, 1.0, "gone")])
    assert names(reviewed.open) == ["failed"]
    assert len(server.requests) == 1
    assert any("raypipe_alerts" in warning for warning in reviewed.warnings)


def test_the_command_lists_alerts_and_sends_a_test(
    tables: Endpoint, server: Hook, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    performed(tables, 0, 0.02, "performance_gap")
    night(tables, server)
    monkeypatch.setenv("RAYPIPE_URL", str(tables))
    if tables.password_file:
        monkeypatch.setenv("RAYPIPE_PASSWORD_FILE", tables.password_file)
    folder = tmp_path / "configs"
    folder.mkdir()
    (folder / "base.yaml").write_text("{}")
    run = CliRunner().invoke
    listed = run(app, ["alerts", "--config", str(folder), "--json"])
    (document,) = json.loads(listed.stdout)["alerts"]
    assert (document["status"], document["rule"], document["first"]) == ("open", "gap", "2026-01-01")
    assert document["sent"] == {"hook": "open"}
    assert run(app, ["alerts", "--test", "--config", str(folder)]).exit_code == 2
    (folder / "base.yaml").write_text(f"alerts: {{receivers: {{a: {{form: alertmanager, url: '{server.url}'}}}}}}")
    assert run(app, ["alerts", "--test", "--config", str(folder)]).exit_code == 0
    assert server.requests[-1].json()["alerts"][0]["labels"]["alertname"] == "test"
    server.behaviour = 500
    failed = run(app, ["alerts", "--test", "--config", str(folder), "--json"])
    assert failed.exit_code == 1
    (result,) = json.loads(failed.stdout)["receivers"]
    assert (result["receiver"], result["took"]) == ("a", False)


def test_prometheus_gets_the_ledger_and_the_performance(tables: Endpoint, server: Hook, tmp_path: Any) -> None:
    performed(tables, 0, 0.8)
    with Client(tables) as client:
        for run, status in (("a", "SUPERSEDED"), ("b", "PUBLISHED"), ("c", "FAILED")):
            row = {"run_id": run, "pipeline": "churn", "date": FIRST, "status": status, "rows_published": 5}
            client.insert_rows("raypipe_runs", [row])
    path = tmp_path / "raypipe.prom"
    configs = {"churn": SharedConfig(prometheus=Prometheus(textfile=str(path)))}
    assert prometheus.publish(tables, configs, [DONE], (), 2.0) == []
    samples = {s.name: s for family in text_string_to_metric_families(path.read_text()) for s in family.samples}
    assert samples["raypipe_rows_published_total"].value == 10
    assert samples["raypipe_published_date_timestamp_seconds"].value == 1767225600
    performance = samples["raypipe_model_performance"]
    assert (performance.value, performance.labels["kind"]) == (0.8, "measured")
