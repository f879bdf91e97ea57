"""Test the metrics for Prometheus by the parser of its own client."""

from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from raypipe.alerts import exposition, prometheus
from raypipe.alerts.exposition import Family
from raypipe.alerts.reading import Outcome, Place
from raypipe.alerts.rules import Alert
from raypipe.config.alerts import Alerts, Prometheus, Rule
from raypipe.config.shared import SharedConfig
from tests.hooks import hook

OUTCOMES = [Outcome("churn", True, 12.5), Outcome("clicks", False, 1.0, "gone")]
CONFIG = SharedConfig(alerts=Alerts(rules={"low": Rule(metric="auc", below=0.7), "off": None}))
ALERT = Alert(
    "id",
    "low",
    Place("churn", "auc"),
    "warning",
    "open",
    0.6,
    "",
    (date(2026, 1, 30),),
    datetime(2026, 1, 31, tzinfo=UTC),
)


def night() -> str:
    configs = {"churn": CONFIG, "clicks": CONFIG}
    return exposition.text([*prometheus.of_night(OUTCOMES, 14.0), *prometheus.of_alerts(configs, [ALERT])])


def test_every_family_has_help_type_and_a_name_by_the_conventions() -> None:
    families = list(text_string_to_metric_families(night()))
    assert len(families) == 5
    for family in families:
        assert family.documentation.endswith(".")
        assert family.type == "gauge"
        assert family.name.startswith("raypipe_")
        assert not family.name.endswith(("_ms", "_minutes", "_percent", "_total"))
    assert night().count("# HELP ") == night().count("# TYPE ") == 5


def test_the_parser_reads_the_values_of_a_night() -> None:
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(night())
        for sample in family.samples
    }
    assert samples["raypipe_night_duration_seconds",] == 14
    assert samples["raypipe_pipeline_success", "churn"] == 1
    assert samples["raypipe_pipeline_success", "clicks"] == 0
    assert samples["raypipe_pipeline_duration_seconds", "churn"] == 12.5
    assert samples["raypipe_alerts_open", "churn", "low", "warning"] == 1
    assert samples["raypipe_alerts_open", "clicks", "low", "warning"] == 0


def test_a_label_may_hold_anything() -> None:
    family = Family("raypipe_x", "gauge", "A \\ and\na line.")
    family.add(0.1, brand='quo"te \\ and\nline {a="b"}')
    (read,) = text_string_to_metric_families(family.text())
    assert read.samples[0].labels == {"brand": 'quo"te \\ and\nline {a="b"}'}
    assert read.samples[0].value == 0.1
    assert read.documentation == "A \\ and\na line."


def test_a_counter_keeps_its_name_and_its_large_values() -> None:
    family = Family("raypipe_rows_published_total", "counter", "Rows.")
    family.add(2**53 - 1, pipeline="churn")
    (read,) = text_string_to_metric_families(family.text())
    assert (read.type, read.samples[0].name) == ("counter", "raypipe_rows_published_total")
    assert read.samples[0].value == 2**53 - 1


def test_the_file_is_replaced_whole_and_the_exporter_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / "raypipe.prom"
    path.write_text("old")
    # A reader of the old file keeps it.
    with path.open() as before:
        exposition.write(path, "new\n")
        assert before.read() == "old"
    assert path.read_text() == "new\n"
    assert os.listdir(tmp_path) == ["raypipe.prom"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_push_replaces_the_group_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUSH_TOKEN", "t0ken")
    with hook() as gateway:
        target = Prometheus(pushgateway=f"{gateway.url}/", job="house", token_variable="PUSH_TOKEN")
        text = night()
        assert prometheus._given(target, text) == []
        (request,) = gateway.requests
    assert (request.method, request.path) == ("PUT", "/metrics/job/house")
    assert request.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert request.headers["Authorization"] == "Bearer t0ken"
    assert request.body.decode() == text


def test_a_place_that_does_not_take_the_metrics_is_a_sentence(tmp_path: Path) -> None:
    with hook() as gateway:
        gateway.behaviour = 500
        target = Prometheus(pushgateway=gateway.url, textfile=str(tmp_path / "none" / "raypipe.prom"))
        file, push = prometheus._given(target, night())
    assert file == f"prometheus.textfile {target.textfile} cannot be written: No such file or directory"
    assert push.startswith("the Pushgateway got no metrics: ")
    assert "HTTP 500" in push
