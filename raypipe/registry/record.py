"""A model version, as it is written to the registry and as it is read again."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

TRAINING = "TRAINING"
CANDIDATE = "CANDIDATE"
PRODUCTION = "PRODUCTION"
ARCHIVED = "ARCHIVED"
FAILED = "FAILED"
STATUSES = (TRAINING, CANDIDATE, PRODUCTION, ARCHIVED, FAILED)
# A fit at work or failed has a version, too, but no artifact.
NOT_FITTED = (TRAINING, FAILED)

_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "raypipe:model")


def model_id(pipeline: str, version: str) -> str:
    """Return the id of a model version, a UUID derived from pipeline and version."""
    return str(uuid.uuid5(_NAMESPACE, f"{pipeline}/{version}"))


@dataclass(frozen=True)
class ModelRecord:
    """A row of ml_model_registry.

    Attributes:
        model_type: `classification` or `regression`.
        trained_at: the start of the fit, UTC.
        artifact_uri: empty for a fit that failed, as is artifact_sha256.
        training_source: the tables that the rows were read from.
        metrics: on training and validation rows.
        evaluation: on test rows, with baselines.
        metadata: further notes; artifact_sha256 and contract_sha256 are added.
    """

    pipeline: str
    version: str
    status: str
    model_type: str
    framework: str
    algorithm: str
    format: str
    trained_at: datetime
    artifact_uri: str = ""
    artifact_sha256: str = ""
    contract_sha256: str = ""
    training_rows: int = 0
    training_seconds: float = 0.0
    training_source: str = ""
    description: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    importance: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def model_id(self) -> str:
        """Return the version's id."""
        return model_id(self.pipeline, self.version)


@dataclass(frozen=True)
class Registered:
    """A model version of the registry.

    Attributes:
        is_provisional: whether it is champion without being shown to beat its strongest baseline.
    """

    pipeline: str
    version: str
    model_id: str
    status: str
    artifact_uri: str
    artifact_sha256: str
    contract_sha256: str
    is_active: bool
    is_latest: bool
    created_at: datetime
    updated_at: datetime
    evaluation: Mapping[str, Any]
    metadata: Mapping[str, Any]
    is_provisional: bool = False

    def _repr_html_(self) -> str:
        """Show the version in a notebook, with the metrics of its test rows."""
        from raypipe.pages import figures, notebook

        test = self.evaluation.get("test", {})
        metrics = [
            (name, figures.interval(value["value"], value.get("low"), value.get("high")))
            for name, value in test.items()
            if isinstance(value, Mapping) and isinstance(value.get("value"), float)
        ]
        pairs = [("registered", f"{self.created_at:%Y-%m-%d %H:%M} UTC"), *metrics]
        reason = str(self.evaluation.get("decision", {}).get("reason", ""))
        state = "good" if self.status == PRODUCTION else "bad" if self.status == FAILED else "plain"
        return notebook.card(f"{self.pipeline} {self.version}", state, self.status, pairs, reason)

    @property
    def pruned_at(self) -> str:
        """Return the moment at which its artifact was pruned, or ''."""
        return str(self.metadata.get("pruned_at", ""))
