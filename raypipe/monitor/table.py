"""ml_model_monitoring: the columns that raypipe fills, and a row's way into it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pyarrow as pa

from raypipe.clickhouse.client import Client

TABLE = "ml_model_monitoring"
UINT16_MAX, UINT32_MAX = 2**16 - 1, 2**32 - 1

_TIME, _FLOAT = pa.timestamp("s", tz="UTC"), pa.float32()
COLUMNS: Mapping[str, pa.DataType] = {
    "monitoring_id": pa.string(),
    "model_id": pa.string(),
    "monitoring_date": pa.date32(),
    "monitoring_start_time": _TIME,
    "monitoring_end_time": _TIME,
    "total_predictions": pa.uint32(),
    "predictions_per_hour": _FLOAT,
    "avg_prediction_latency_ms": _FLOAT,
    "accuracy": _FLOAT,
    "precision": _FLOAT,
    "recall": _FLOAT,
    "f1_score": _FLOAT,
    "auc_roc": _FLOAT,
    "data_drift_score": _FLOAT,
    "feature_drift_scores": pa.string(),
    "drift_detected": pa.uint8(),
    "performance_drift_score": _FLOAT,
    "performance_drift_detected": pa.uint8(),
    "prediction_distribution": pa.string(),
    "error_count": pa.uint32(),
    "error_rate": _FLOAT,
    "error_types": pa.string(),
    "alerts_triggered": pa.uint16(),
    "alert_types": pa.string(),
    "metadata": pa.string(),
    "created_at": _TIME,
    "updated_at": _TIME,
}


def id_of(what: str) -> str:
    """The id of a row, which follows from what it tells of: a run's id, or another name that is its own."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"raypipe:{what}"))


def insert(client: Client, row: Mapping[str, object], token: str | None = None) -> None:
    """Inserts one row; the columns that it does not name get their defaults.

    Args:
        client: where the table is.
        row: values by column, of those in `COLUMNS`.
        token: the deduplication token; with one, the insert is repeated after faults that pass.
    """
    schema = pa.schema([(name, COLUMNS[name]) for name in row])
    client.insert(TABLE, pa.Table.from_pylist([row], schema=schema), token=token, columns=schema.names)
