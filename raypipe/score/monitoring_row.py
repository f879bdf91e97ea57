"""Write a run's row of ml_model_monitoring, and remove the rows of runs that do not count."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from raypipe.clickhouse import mutations
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.monitor import table
from raypipe.monitor.drift import Drift
from raypipe.monitor.table import UINT16_MAX, UINT32_MAX
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.runs import Run


def write(client: Client, manifest: Manifest, written: Sequence[Receipt], measured: Drift) -> None:
    """Write the run's row of ml_model_monitoring, unless an earlier attempt has written it."""
    row = _row(manifest, written, measured)
    known = client.value(
        "SELECT count() FROM ml_model_monitoring WHERE monitoring_date = {day:Date} AND model_id = {model:String}"
        " AND monitoring_id = {id:String}",
        {"day": manifest.date, "model": manifest.model_id, "id": row["monitoring_id"]},
    )
    if not known:
        client.insert_rows(table.TABLE, [row])


def _row(manifest: Manifest, written: Sequence[Receipt], measured: Drift) -> dict[str, object]:
    now = datetime.now(UTC).replace(microsecond=0)
    rows = sum(receipt.rows_scored for receipt in written)
    rejected = sum(receipt.rows_rejected for receipt in written)
    seconds = max(receipt.finished_at for receipt in written) - min(receipt.started_at for receipt in written)
    seconds = max(seconds, 1e-9)
    return {
        "monitoring_id": table.id_of(f"monitoring:{manifest.run_id}"),
        "model_id": manifest.model_id,
        "monitoring_date": manifest.date,
        "monitoring_start_time": manifest.run_at,
        "monitoring_end_time": now,
        "total_predictions": min(rows, UINT32_MAX),
        "predictions_per_hour": 3600 * rows / seconds,
        # The latency per row of a batch: wall time over rows.
        "avg_prediction_latency_ms": 1000 * seconds / max(rows, 1),
        # The column is not Nullable; metadata says when there was nothing to compare with.
        "data_drift_score": measured.worst or 0.0,
        "feature_drift_scores": json.dumps({**measured.features, "score": measured.score}),
        "drift_detected": int(bool(measured.alerts)),
        "prediction_distribution": json.dumps(measured.score_counts),
        "error_count": min(rejected, UINT32_MAX),
        "error_rate": rejected / max(rows + rejected, 1),
        "alerts_triggered": min(len(measured.alerts), UINT16_MAX),
        "alert_types": json.dumps([f"drift:{name}" for name in measured.alerts]),
        "metadata": json.dumps(
            {
                "run_id": manifest.run_id,
                "pipeline": manifest.pipeline,
                "model_version": manifest.model_version,
                "reference": measured.reference,
                "since_fit": measured.since_fit,
            }
        ),
        "created_at": now,
        "updated_at": now,
    }


def remove(client: Client, run: Run) -> None:
    """Delete the row of a run that failed or was superseded."""
    condition = "monitoring_date = {day:Date} AND monitoring_id = {id:String}"
    bound = {"day": run.date, "id": table.id_of(f"monitoring:{run.run_id}")}
    if client.value(f"SELECT count() FROM {identifier(table.TABLE)} WHERE {condition}", bound):
        mutations.delete(client, table.TABLE, condition, bound)
