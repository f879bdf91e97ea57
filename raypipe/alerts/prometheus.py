"""Give a night's metrics to Prometheus: as a text file for the node exporter, and to a Pushgateway."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from pathlib import Path

from raypipe.alerts import exposition, web
from raypipe.alerts.exposition import Family
from raypipe.alerts.measured import measured
from raypipe.alerts.reading import Outcome
from raypipe.alerts.rules import Alert
from raypipe.alerts.secret import reveal
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import load
from raypipe.config.alerts import PERFORMANCE, Prometheus
from raypipe.config.shared import SharedConfig
from raypipe.errors import RaypipeError
from raypipe.project import shipped

ESTIMATED = "estimated_"


def publish(
    endpoint: Endpoint,
    configs: Mapping[str, SharedConfig],
    outcomes: Sequence[Outcome],
    alerts: Sequence[Alert],
    seconds: float,
) -> list[str]:
    """Write and push the metrics of a night where that is configured, and return what failed."""
    problems: list[str] = []
    for target, pipelines in _targets(configs).items():
        own = {name: configs[name] for name in pipelines}
        try:
            with Client(endpoint) as client:
                families = [*of_night(outcomes, seconds), *of_alerts(own, alerts), *of_database(client, own)]
        except RaypipeError as error:
            problems.append(f"the metrics for Prometheus lack those of the database: {error.problem}")
            families = [*of_night(outcomes, seconds), *of_alerts(own, alerts)]
        problems += _given(target, exposition.text(families))
    return problems


def _targets(configs: Mapping[str, SharedConfig]) -> dict[Prometheus, list[str]]:
    """Return the pipelines of each place; a pipeline's file may name another place than base.yaml."""
    targets: dict[Prometheus, list[str]] = {}
    for name, config in configs.items():
        if config.prometheus.textfile or config.prometheus.pushgateway:
            targets.setdefault(config.prometheus, []).append(name)
    return targets


def of_night(outcomes: Sequence[Outcome], seconds: float) -> list[Family]:
    """Return the metrics of the night itself."""
    end = Family("raypipe_night_end_timestamp_seconds", "gauge", "Time at which the night ended.")
    length = Family("raypipe_night_duration_seconds", "gauge", "Duration of the night.")
    done = Family(
        "raypipe_pipeline_success", "gauge", "1 if the pipeline's step is done, 0 if it failed or was refused."
    )
    lengths = Family("raypipe_pipeline_duration_seconds", "gauge", "Duration of the pipeline's step.")
    end.add(datetime.now(UTC).timestamp())
    length.add(seconds)
    for outcome in outcomes:
        done.add(outcome.is_done, pipeline=outcome.pipeline)
        lengths.add(outcome.seconds, pipeline=outcome.pipeline)
    return [end, length, done, lengths]


def of_alerts(configs: Mapping[str, SharedConfig], alerts: Sequence[Alert]) -> list[Family]:
    """Return the number of open alerts of each rule, 0 included."""
    family = Family("raypipe_alerts_open", "gauge", "Open alerts of a rule.")
    counts = Counter((alert.place.pipeline, alert.rule) for alert in alerts)
    for pipeline, config in configs.items():
        for name, rule in config.alerts.rules.items():
            if rule is not None:
                family.add(counts[pipeline, name], pipeline=pipeline, rule=name, severity=rule.severity)
    return [family]


def of_database(client: Client, configs: Mapping[str, SharedConfig]) -> list[Family]:
    """Return what the ledger and the monitoring know of the pipelines."""
    rows = Family("raypipe_rows_published_total", "counter", "Rows published by all runs of the pipeline.")
    rejected = Family("raypipe_rows_rejected_total", "counter", "Rows without a usable score in published runs.")
    last = Family("raypipe_last_publication_timestamp_seconds", "gauge", "Time of the latest publication.")
    newest = Family("raypipe_published_date_timestamp_seconds", "gauge", "Midnight UTC of the newest published date.")
    drift = Family("raypipe_score_drift_psi", "gauge", "Population stability index of the scores.")
    performance = Family("raypipe_model_performance", "gauge", "A metric of the newest date that has it.")
    sql = load(shipped() / "sql" / "alerts" / "totals.sql").text
    for pipeline, published, left_out, at, day in client.rows(sql, {"pipelines": list(configs)}):
        rows.add(published, pipeline=pipeline)
        rejected.add(left_out, pipeline=pipeline)
        last.add(at.timestamp(), pipeline=pipeline)
        newest.add(datetime.combine(day, time(), UTC).timestamp(), pipeline=pipeline)
    for pipeline, config in configs.items():
        for reading in measured(client, pipeline, config):
            metric = reading.place.metric
            if reading.place.slice_column:
                continue
            if metric == "score_drift":
                drift.add(reading.value, pipeline=pipeline)
            elif metric.removeprefix(ESTIMATED) in PERFORMANCE:
                kind = "estimated" if metric.startswith(ESTIMATED) else "measured"
                name = metric.removeprefix(ESTIMATED)
                performance.add(reading.value, pipeline=pipeline, metric=name, kind=kind)
    return [rows, rejected, last, newest, drift, performance]


def _given(target: Prometheus, text: str) -> list[str]:
    """Write and push an exposition, and return what failed."""
    problems = []
    if target.textfile:
        try:
            exposition.write(Path(target.textfile), text)
        except OSError as error:
            problems.append(f"prometheus.textfile {target.textfile} cannot be written: {error.strerror}")
    if target.pushgateway:
        try:
            web.send(
                "PUT",
                f"{target.pushgateway.rstrip('/')}/metrics/job/{target.job}",
                text.encode(),
                content_type=exposition.CONTENT_TYPE,
                token=reveal("prometheus.token", target.token_variable, target.token_file),
                ca_file=target.ca_file,
                timeout_seconds=target.timeout_seconds,
            )
        except RaypipeError as error:
            reason = f"{error.problem} ({error.found})" if error.found else error.problem
            problems.append(f"the Pushgateway got no metrics: {reason}")
    return problems
