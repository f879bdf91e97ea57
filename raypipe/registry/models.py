"""Model versions in ml_model_registry, a ReplacingMergeTree where the row with the latest updated_at counts.

updated_at is in whole seconds, so every change sets it at least one second after the last.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.errors import ModelError, UsageError
from raypipe.registry import aliases
from raypipe.registry.record import NOT_FITTED, PRODUCTION, STATUSES, ModelRecord, Registered
from raypipe.registry.rows import NEVER, json_text, parsed, seconds, size, statement, unix_seconds, write

TABLE = "ml_model_registry"
SHOWN_VERSIONS = 5


def register(client: Client, record: ModelRecord, at: datetime) -> Registered:
    """Write a model version, or replace its row. A fitted version becomes the pipeline's latest.

    Its status must not be PRODUCTION: only `set_status` archives the version that was in production.
    """
    _require_status(record.status, [status for status in STATUSES if status != PRODUCTION])
    known = _versions(client, record.pipeline).get(record.version)
    moment = seconds(at) if known is None else max(seconds(at), known.updated_at + timedelta(seconds=1))
    created = moment if known is None else known.created_at
    write(client, TABLE, [_row(record, created, moment)])
    if record.status not in NOT_FITTED:
        parameters = {"pipeline": record.pipeline, "version": record.version, "at": unix_seconds(moment)}
        client.run(statement("supersede").text, parameters)
    return find(client, record.pipeline, record.version)


def set_status(
    client: Client,
    model: Registered,
    status: str,
    at: datetime,
    deployed_by: str = "raypipe",
    provisional: bool | None = None,
) -> Registered:
    """Change a version's status.

    PRODUCTION makes the version active and archives the version that was; any other status makes it inactive.

    Args:
        provisional: whether the version gets the tag `provisional`; None leaves its tags.
    """
    _require_status(status, STATUSES)
    parameters = {
        "pipeline": model.pipeline,
        "version": model.version,
        "status": status,
        "deployed_by": deployed_by,
        "at": unix_seconds(at),
        "provisional": -1 if provisional is None else int(provisional),
    }
    client.run(statement("set_status").text, parameters)
    return find(client, model.pipeline, model.version)


def find(client: Client, pipeline: str, reference: str) -> Registered:
    """Return a model version by its name, by an alias such as `champion`, or the `latest`.

    Raises:
        UsageError: no version has this name; the message lists the newest versions.
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
        found=f"versions {', '.join(some)}{more}" if versions else "no versions",
        allowed="a version, an alias that is set, such as champion, or latest",
        next_step="list all with `raypipe models`" if versions else f"fit the first with `raypipe fit {pipeline}`",
    )


def find_alias(client: Client, pipeline: str, alias: str) -> Registered | None:
    """Return the version that an alias names, or None."""
    named = aliases.current(client, pipeline, alias)
    return _versions(client, pipeline).get(named.version) if named else None


def require_artifact(model: Registered) -> None:
    """Refuse a version that has no artifact to score with.

    Raises:
        ModelError: the fit was not completed, or the artifact was pruned.
    """
    if model.pruned_at:
        raise ModelError(
            f"The artifact of {model.pipeline} {model.version} was pruned",
            found=f"removed on {model.pruned_at}",
            next_step=f"choose another version of `raypipe models {model.pipeline}`, or fit a new version",
        )
    if not model.artifact_sha256:
        raise ModelError(
            f"{model.pipeline} {model.version} has no artifact",
            found=f"status {model.status}",
            allowed="a version with a completed fit",
            next_step=f"choose another version of `raypipe models {model.pipeline}`",
        )


def list_models(client: Client, pipeline: str | None = None) -> list[Registered]:
    """Return every version of one pipeline or of all, newest first."""
    rows = client.rows(statement("models").text, {"pipeline": pipeline or ""})
    return [_registered(row) for row in rows]


def _versions(client: Client, pipeline: str) -> dict[str, Registered]:
    return {model.version: model for model in list_models(client, pipeline)}


def _registered(row: tuple[Any, ...]) -> Registered:
    pipeline, version, identity, status, uri, metadata, evaluation, active, latest, created, updated, provisional = row
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
        is_provisional=bool(provisional),
    )


def _row(record: ModelRecord, created: datetime, updated: datetime) -> dict[str, Any]:
    hashes = {"artifact_sha256": record.artifact_sha256, "contract_sha256": record.contract_sha256}
    return {
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
        "deployed_at": NEVER,
        **dict.fromkeys(("deployed_by", "deployment_environment", "company_id", "brand_id", "parent_model_id"), ""),
        "created_at": created,
        "updated_at": updated,
        "created_by": "raypipe",
    }


def _require_status(status: str, allowed: Sequence[str]) -> None:
    if status not in allowed:
        raise UsageError("A model version cannot get this status", found=repr(status), allowed=", ".join(allowed))
