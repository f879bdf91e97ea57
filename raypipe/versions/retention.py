"""Choose the versions that may lose their artifacts.

An artifact is addressed by its content, so that two versions may share it. It is removed when all of its versions are
marked and no alias and no run names them.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from raypipe.artifact import stores
from raypipe.artifact.files import Stored
from raypipe.artifact.table import ADDRESS
from raypipe.clickhouse.client import Client
from raypipe.config.shared import CLICKHOUSE
from raypipe.registry import models
from raypipe.registry.record import Registered
from raypipe.registry.rows import json_text, seconds, statement, unix_seconds

# A younger artifact may belong to a fit that has not registered its version yet.
ORPHAN_AGE = timedelta(days=1)


def prunable(client: Client, pipeline: str, keep: int) -> list[Registered]:
    """Return the versions of a pipeline that may lose their artifacts, the newest first.

    The newest `keep` versions with an artifact stay, and so do versions that an alias or a current run names. Registry
    rows of other tools are left alone.
    """
    stored = [model for model in models.list_models(client, pipeline) if _has_artifact(model) and not model.pruned_at]
    names = named(client)
    return [model for model in stored[keep:] if (pipeline, model.version) not in names]


def named(client: Client) -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the aliases and runs that need an artifact, by pipeline and version."""
    rows = client.rows(statement("named_versions").text)
    return {(pipeline, version): tuple(named_by) for pipeline, version, named_by in rows}


def mark(client: Client, model: Registered, at: datetime) -> None:
    """Record in the registry that a version's artifact is removed, at a moment in UTC."""
    metadata = json_text({**model.metadata, "pruned_at": seconds(at).isoformat()})
    parameters = {"pipeline": model.pipeline, "version": model.version, "metadata": metadata, "at": unix_seconds(at)}
    client.run(statement("mark_pruned").text, parameters)


def removable(client: Client, pending: Iterable[Registered] = ()) -> list[Stored]:
    """Return the artifacts that no version needs any more; `pending` versions count as marked, for a dry run."""
    versions, names = models.list_models(client), named(client)
    marked = {model.model_id for model in pending} | {model.model_id for model in versions if model.pruned_at}
    needed = {
        model.artifact_sha256
        for model in versions
        if model.model_id not in marked or (model.pipeline, model.version) in names
    }
    places = {
        model.artifact_uri: model.artifact_sha256
        for model in versions
        if _has_artifact(model) and model.artifact_sha256 not in needed
    }
    artifacts = [stores.at(uri, client).find(sha256) for uri, sha256 in sorted(places.items())]
    return [stored for stored in artifacts if stored]


def _has_artifact(model: Registered) -> bool:
    """Return whether a version's files are an artifact of raypipe, at the address of the version's own hash."""
    return bool(model.artifact_sha256) and model.artifact_uri.rstrip("/").endswith(f"/{model.artifact_sha256}")


def orphans(client: Client, place: str, now: datetime) -> list[Stored]:
    """Return the artifacts of a place that no registered version has, and that are older than a day."""
    known = {model.artifact_sha256 for model in models.list_models(client)}
    return [
        stored
        for stored in stores.at(place, client).listed()
        if stored.name not in known and stored.written_at is not None and now - stored.written_at > ORPHAN_AGE
    ]


def lost(client: Client) -> list[Registered]:
    """Return the versions whose artifacts should be in the table and are not."""
    table = stores.at(CLICKHOUSE, client)
    there = {stored.name for stored in table.listed()}
    versions = [model for model in models.list_models(client) if model.artifact_uri.startswith(f"{ADDRESS}/")]
    return [model for model in versions if not model.pruned_at and model.artifact_sha256 not in there]


def size(doomed: Sequence[Stored]) -> int:
    """Return the bytes of artifacts."""
    return sum(item.bytes for item in doomed)
