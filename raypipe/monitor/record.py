"""A row of ml_model_monitoring for a scoring run, written once however often the run is resumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, date, datetime

from raypipe.clickhouse.client import Client
from raypipe.monitor import table
from raypipe.monitor.drift import Drift
from raypipe.monitor.table import UINT32_MAX


@dataclass(frozen=True)
class Scored:
    """What a run did, for its monitoring row; seconds are wall time spent scoring."""

    run_id: str
    model_id: str
    model_version: str
    date: date
    started_at: datetime
    rows: int
    rejected: int
    seconds: float


def write(client: Client, run: Scored, drift: Drift) -> str:
    """Writes the row unless it is there, and returns its id, which follows from the run's."""
    identity = table.id_of(f"monitoring:{run.run_id}")
    known = client.value(
        "SELECT count() FROM ml_model_monitoring WHERE monitoring_date = {day:Date} AND model_id = {model:String}"
        " AND monitoring_id = {id:String}",
        {"day": run.date, "model": run.model_id, "id": identity},
    )
    if not known:
        table.insert(client, _row(run, drift, identity))
    return identity


def _row(run: Scored, drift: Drift, identity: str) -> dict[str, object]:
    now = datetime.now(UTC).replace(microsecond=0)
    seconds = max(run.seconds, 1e-9)
    total = run.rows + run.rejected
    return {
        "monitoring_id": identity,
        "model_id": run.model_id,
        "monitoring_date": run.date,
        "monitoring_start_time": run.started_at,
        "monitoring_end_time": now,
        "total_predictions": min(run.rows, UINT32_MAX),
        "predictions_per_hour": 3600 * run.rows / seconds,
        # A batch's latency a row: wall time over rows.
        "avg_prediction_latency_ms": 1000 * seconds / max(run.rows, 1),
        "data_drift_score": drift.worst,
        "feature_drift_scores": json.dumps({**drift.features, "score": drift.score}),
        "drift_detected": int(bool(drift.alerts)),
        "prediction_distribution": json.dumps(drift.score_counts),
        "error_count": min(run.rejected, UINT32_MAX),
        "error_rate": run.rejected / max(total, 1),
        "alerts_triggered": len(drift.alerts),
        "alert_types": json.dumps([f"drift:{name}" for name in drift.alerts]),
        "metadata": json.dumps({"run_id": run.run_id, "model_version": run.model_version}),
        "created_at": now,
        "updated_at": now,
    }
