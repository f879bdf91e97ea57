"""Make the objects that tests of several rooms need: a manifest and a registered version."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from raypipe.artifact.files import Artifact
from raypipe.data.slices import Slice, Slicing
from raypipe.models.xgboost import XGBoost
from raypipe.registry.record import ModelRecord
from raypipe.score.manifest import Manifest, PublishTarget

_USERS = ("company_id", "brand_id", "user_id")
_BOUND = ("c", "b", "u5")


def manifest(**changes: Any) -> Manifest:
    """Return the manifest of a churn run over two slices, with some fields changed."""
    fields: dict[str, Any] = {
        "run_id": "churn_20260131_00000001",
        "run_at": datetime(2026, 2, 1, 3, 0, 0, tzinfo=UTC),
        "pipeline": "churn",
        "date": date(2026, 1, 31),
        "entity_type": "user",
        "entity_id": "user_id",
        "model_id": "model-1",
        "model_version": "20260201.000000.abcdef",
        "artifact_uri": "/nowhere",
        "artifact_sha256": "ab",
        "contract_sha256": "cd",
        "sql_sha256": "ef",
        "keys": _USERS,
        "key_types": ("String",) * 3,
        "carry": ("sessions",),
        "carry_types": ("UInt32",),
        "select": "SELECT … WHERE {slice}",
        "select_parameters": {},
        "slicing": Slicing("index", _USERS, ("String",) * 3, (Slice(0, upper=_BOUND), Slice(1, lower=_BOUND)), 10),
        "source_rows": 10,
        "source_checksum": 2**64 - 1,
        "chunk_rows": 100,
        "max_rejected": 0.2,
        "duplicates": "refuse",
        "explain_rows": 0,
        "explain_features": 5,
        "threshold": 0.25,
        "levels": (("low", 0.15), ("high", 1.01)),
        "score_range": (0.0, 1.0),
        "timezone": "UTC",
        "inputs": (),
        "outputs": (),
        "values": {},
        "targets": (PublishTarget("ml_model_predictions", ""),),
        "snapshot": None,
        "pinned": (),
    }
    return Manifest(**{**fields, **changes})


def model_record(version: str, at: datetime, artifact: Artifact, contract_sha256: str) -> ModelRecord:
    """Return the record of a candidate of churn that XGBoost fitted."""
    return ModelRecord(
        "churn",
        version,
        "CANDIDATE",
        "classification",
        XGBoost.framework,
        XGBoost.algorithm,
        XGBoost.format,
        at,
        artifact_uri=artifact.uri,
        artifact_sha256=artifact.sha256,
        contract_sha256=contract_sha256,
    )
