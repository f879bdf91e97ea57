"""Write the range and the importance of a model's features into ml_model_features."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.clickhouse.client import Client
from raypipe.registry.rows import seconds, write

TABLE = "ml_model_features"


@dataclass(frozen=True)
class FeatureRecord:
    """A column of the fitted matrix; its statistics skip missing values, and are 0 where all are missing."""

    name: str
    importance: float
    minimum: float
    maximum: float
    mean: float
    std: float
    kind: str = "number"
    description: str = ""
    default: str = "NaN"
    data_type: str = "Float32"


def summarise(x: npt.NDArray[np.float32], columns: Sequence[str], importance: Sequence[float]) -> list[FeatureRecord]:
    """Return a record of each column of a matrix of shape (rows, features), without kinds and descriptions."""
    return [_summary(name, float(importance[at]), x[:, at]) for at, name in enumerate(columns)]


def record_features(client: Client, model_id: str, features: Sequence[FeatureRecord], at: datetime) -> None:
    """Write a model version's features, ranked by importance from 1 on."""
    ranked = sorted(features, key=lambda feature: -feature.importance)
    write(client, TABLE, [_row(model_id, rank, feature, seconds(at)) for rank, feature in enumerate(ranked, 1)])


def _summary(name: str, importance: float, values: npt.NDArray[np.float32]) -> FeatureRecord:
    known = values[np.isfinite(values)].astype(np.float64)
    if not len(known):
        return FeatureRecord(name, importance, 0.0, 0.0, 0.0, 0.0)
    return FeatureRecord(
        name, importance, float(known.min()), float(known.max()), float(known.mean()), float(known.std())
    )


def _row(model_id: str, rank: int, feature: FeatureRecord, at: datetime) -> dict[str, Any]:
    return {
        "feature_id": str(uuid.uuid5(uuid.UUID(model_id), feature.name)),
        "model_id": model_id,
        "feature_name": feature.name,
        "feature_code": feature.name,
        "feature_type": feature.kind,
        "feature_data_type": feature.data_type,
        "description": feature.description,
        "default_value": feature.default,
        "feature_importance": feature.importance,
        "min_value": feature.minimum,
        "max_value": feature.maximum,
        "mean_value": feature.mean,
        "std_value": feature.std,
        "is_required": 1,
        "feature_rank": rank,
        "created_at": at,
        "updated_at": at,
    }
