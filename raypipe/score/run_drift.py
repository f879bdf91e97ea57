"""Measure the drift of a run on the counts of its own scoring pass, and write its monitoring row."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.config.monitor import Monitor
from raypipe.monitor import drift, table
from raypipe.monitor.table import UINT32_MAX
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest


def measure(client: Client, limits: Monitor, manifest: Manifest, written: Sequence[Receipt]) -> drift.Drift:
    """Measure a run's drift from its receipts, and write its monitoring row unless a resumed run has written it."""
    card = load_card(manifest.artifact_uri, manifest.artifact_sha256, client)
    measured = drift.measure(
        card.contract.columns,
        card.bins.feature_shares,
        card.bins.score_shares,
        (receipt.histograms for receipt in written),
        warning=limits.psi_warning,
        alert=limits.psi_alert,
    )
    row = _row(manifest, written, measured)
    known = client.value(
        "SELECT count() FROM ml_model_monitoring WHERE monitoring_date = {day:Date} AND model_id = {model:String}"
        " AND monitoring_id = {id:String}",
        {"day": manifest.date, "model": manifest.model_id, "id": row["monitoring_id"]},
    )
    if not known:
        client.insert_rows(table.TABLE, [row])
    return measured


def _row(manifest: Manifest, written: Sequence[Receipt], measured: drift.Drift) -> dict[str, object]:
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
        "data_drift_score": measured.worst,
        "feature_drift_scores": json.dumps({**measured.features, "score": measured.score}),
        "drift_detected": int(bool(measured.alerts)),
        "prediction_distribution": json.dumps(measured.score_counts),
        "error_count": min(rejected, UINT32_MAX),
        "error_rate": rejected / max(rows + rejected, 1),
        "alerts_triggered": len(measured.alerts),
        "alert_types": json.dumps([f"drift:{name}" for name in measured.alerts]),
        "metadata": json.dumps({"run_id": manifest.run_id, "model_version": manifest.model_version}),
        "created_at": now,
        "updated_at": now,
    }
