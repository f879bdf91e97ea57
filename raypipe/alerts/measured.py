"""Read the newest drift and performance of a pipeline as readings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from raypipe.alerts.reading import Place, Reading
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.config.shared import SharedConfig
from raypipe.project import shipped

SCORE = "score"
ESTIMATED = "estimated"


def measured(client: Client, pipeline: str, config: SharedConfig) -> Iterator[Reading]:
    """Yield the drift and the performance on the newest date that has them."""
    drift = _rows(client, "drift", {"pipeline": pipeline, "reference": config.monitor.reference})
    for day, feature, column, value, psi, is_alert, reference_date, why in drift:
        is_score = feature == SCORE
        metric, subject = ("score_drift", "") if is_score else ("feature_drift", feature)
        place = Place(pipeline, metric, subject, column, value)
        note = "; ".join(filter(None, [why, f"PSI against {reference_date}"]))
        yield Reading(place, day, psi, bool(is_alert), note)
    for kind, day, name, column, value, measure in _rows(client, "performance", {"pipeline": pipeline}):
        metric = f"estimated_{name}" if kind == ESTIMATED else name
        yield Reading(Place(pipeline, metric, "", column, value), day, measure, note=f"predictions of {day}")


def _rows(client: Client, name: str, parameters: dict[str, Any]) -> list[tuple[Any, ...]]:
    return client.rows(load(shipped() / "sql" / "alerts" / f"{name}.sql").text, parameters)
