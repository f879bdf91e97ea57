"""Model versions in ml_model_registry, a ReplacingMergeTree: a change is a new row that wins by updated_at.

updated_at has a resolution of one second, so every change sets it at least a second past the row's last.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from raypipe.clickhouse.client import Client
from raypipe.errors import UsageError
from raypipe.registry import aliases
from raypipe.registry.record import NOT_FITTED, PRODUCTION, STATUSES, ModelRecord, Registered
from raypipe.registry.rows import SECONDS, epoch, json_text, parsed, seconds, size, statement, write

__all__ = ["ModelRecord", "Registered", "find", "find_alias", "list_models", "register", "set_status"]

TABLE = "ml_model_registry"
SHOWN_VERSIONS = 5

_TEXTS = (
    "model_id model_name model_code model_version model_type domain algorithm model_framework model_format model_path "
    "model_storage_type model_storage_url description metadata training_dataset_path training_environment "
    "performance_metrics feature_importance evaluation_dataset_metrics model_status deployed_by deployment_environment "
    "company_id brand_id parent_model_id created_by"
)
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in _TEXTS.split()]
    + [("tags", pa.list_(pa.string()))]
    + [(name, pa.uint32()) for name in ("training_dataset_size", "training_duration_sec")]
    + [(name, pa.uint8()) for name in ("is_active", "is_latest_version")]
    + [(name, SECONDS) for name in ("training_date", "deployed_at", "created_at", "updated_at")]
)
_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def register(client: Client, record: ModelRecord, at: datetime) -> Registered:
    """Writes a model version, the pipeline's latest once it is fitted; again, to replace what it says.

    Args:
        client: of the database with the registry.
        record: the version. Its status is not PRODUCTION: only `set_status` retires the previous one.
        at: the moment, UTC.
    """
    _require_status(record.status, (status for status in STATUSES if status != PRODUCTION))
    known = _versions(client, record.pipeline).get(record.version)
    moment = seconds(at) if known is None else max(seconds(at), known.updated_at + timedelta(seconds=1))
    created = moment if known is None else known.created_at
    write(client, TABLE, _SCHEMA, [_row(record, created, moment)])
    if record.status not in NOT_FITTED:
        parameters = {"pipeline": record.pipeline, "version": record.version, "at": epoch(moment)}
        client.run(statement("supersede").text, parameters)
    return find(client, record.pipeline, record.version)


def set_status(
    client: Client, model: Registered, status: str, at: datetime, deployed_by: str = "raypipe"
) -> Registered:
    """Changes a version's status.

    PRODUCTION makes the version active and archives the one that was in production; any other makes it inactive.
    """
    _require_status(status, STATUSES)
    parameters = {
        "pipeline": model.pipeline,
        "version": model.version,
        "status": status,
        "deployed_by": deployed_by,
        "at": epoch(at),
    }
    client.run(statement("set_status").text, parameters)
    return find(client, model.pipeline, model.version)


def find(client: Client, pipeline: str, reference: str) -> Registered:
    """A model version by its number, by an alias such as `champion`, or the `latest`.

    Raises:
        UsageError: nothing is registered under the reference; the message lists what is.
    """
    versions = _versions(client, pipeline)
    if reference == aliases.LATEST:
        fitted = [model for model in versions.values() if model.status not in NOT_FITTED]
        if fitted:
            return next((model for model in fitted if model.is_latest), fitted[0])
    if reference in versions:
        return versions[reference]
    alias = aliases.current(client, pipeline, reference)
    if alias is not None and alias.version in versions:
        return versions[alias.version]
    some = list(versions)[:SHOWN_VERSIONS]
    more = f" and {len(versions) - len(some)} more" if len(versions) > len(some) else ""
    raise UsageError(
        f"{pipeline} has no model {reference!r}",
        found=f"versions {', '.join(some)}{more}" if versions else "no versions at all",
        allowed="a version, an alias that was assigned (champion), or latest",
        next_step="see `raypipe models`" if versions else f"`raypipe fit {pipeline}`",
    )


def find_alias(client: Client, pipeline: str, alias: str) -> Registered | None:
    """The version that an alias names, or None where it names none."""
    named = aliases.current(client, pipeline, alias)
    return _versions(client, pipeline).get(named.version) if named else None


def list_models(client: Client, pipeline: str | None = None) -> list[Registered]:
    """Every version, of one pipeline or of all, the newest first."""
    rows = client.rows(statement("models").text, {"pipeline": pipeline or ""})
    return [_registered(row) for row in rows]


def _versions(client: Client, pipeline: str) -> dict[str, Registered]:
    return {model.version: model for model in list_models(client, pipeline)}


def _registered(row: tuple[Any, ...]) -> Registered:
    pipeline, version, identity, status, uri, metadata, evaluation, active, latest, created, updated = row
    notes = parsed(metadata)
    return Registered(
        pipeline=pipeline,
        version=version,
        model_id=identity,
        status=status,
        artifact_uri=uri,
        artifact_sha256=str(notes.get("artifact_sha256", "")),
        contract_sha256=str(notes.get("contract_sha256", "")),
        is_active=bool(active),
        is_latest=bool(latest),
        created_at=datetime.fromtimestamp(created, UTC),
        updated_at=datetime.fromtimestamp(updated, UTC),
        evaluation=parsed(evaluation),
        metadata=notes,
    )


def _row(record: ModelRecord, created: datetime, updated: datetime) -> dict[str, Any]:
    hashes = {"artifact_sha256": record.artifact_sha256, "contract_sha256": record.contract_sha256}
    known = {
        "model_id": record.model_id,
        "model_name": f"{record.pipeline} {record.version}",
        "model_code": record.pipeline,
        "model_version": record.version,
        "model_type": record.model_type,
        "domain": record.pipeline,
        "algorithm": record.algorithm,
        "model_framework": record.framework,
        "model_format": record.format,
        "model_path": record.artifact_uri,
        "model_storage_type": record.artifact_uri.partition("://")[0] if "://" in record.artifact_uri else "file",
        "model_storage_url": record.artifact_uri,
        "description": record.description,
        "tags": list(record.tags),
        "metadata": json_text({**record.metadata, **hashes}),
        "training_dataset_path": record.training_source,
        "training_dataset_size": size(record.training_rows),
        "training_date": seconds(record.trained_at),
        "training_duration_sec": size(record.training_seconds),
        "training_environment": json_text(record.environment),
        "performance_metrics": json_text(record.metrics),
        "feature_importance": json_text(record.importance),
        "evaluation_dataset_metrics": json_text(record.evaluation),
        "model_status": record.status,
        "is_active": 0,
        "is_latest_version": int(record.status not in NOT_FITTED),
        "deployed_at": _NEVER,
        "created_at": created,
        "updated_at": updated,
        "parent_model_id": record.parent_model_id,
        "created_by": record.created_by,
    }
    return {**dict.fromkeys(_SCHEMA.names, ""), **known}


def _require_status(status: str, allowed: Any) -> None:
    names = tuple(allowed)
    if status not in names:
        raise UsageError("Not a status of a model here", found=repr(status), allowed=", ".join(names))
