"""Choose the versions that may lose their artifacts.

An artifact is addressed by its content, so that two versions may share it. It is removed when all of its versions are
marked and no alias and no run names them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from raypipe.artifact import folders
from raypipe.artifact.folders import ArtifactFolder
from raypipe.clickhouse.client import Client
from raypipe.registry import models
from raypipe.registry.record import Registered
from raypipe.registry.rows import json_text, seconds, statement, unix_seconds

# A younger artifact may belong to a fit that has not registered its version yet.
ORPHAN_AGE = timedelta(days=1)


@dataclass(frozen=True)
class Removal:
    """An artifact to remove, with the bytes of its files."""

    artifact_sha256: str
    uri: str
    bytes: int


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


def removable(client: Client, pending: Iterable[Registered] = ()) -> list[Removal]:
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
    sized = [Removal(sha256, uri, folders.size(uri)) for uri, sha256 in sorted(places.items())]
    return [removal for removal in sized if removal.bytes]


def _has_artifact(model: Registered) -> bool:
    """Return whether a version's files are an artifact of raypipe, in the folder of the version's own hash."""
    return bool(model.artifact_sha256) and model.artifact_uri.rstrip("/").endswith(f"/{model.artifact_sha256}")


def orphans(client: Client, root: str, now: datetime) -> list[ArtifactFolder]:
    """Return the artifacts of no registered version that are older than a day."""
    known = {model.artifact_sha256 for model in models.list_models(client)}
    return [
        stored
        for stored in folders.artifact_folders(root)
        if stored.name not in known and stored.written_at is not None and now - stored.written_at > ORPHAN_AGE
    ]


def size(doomed: Sequence[Removal | ArtifactFolder]) -> int:
    """Return the bytes of artifacts and orphans."""
    return sum(item.bytes for item in doomed)


def remove(doomed: Sequence[Removal | ArtifactFolder]) -> int:
    """Remove artifacts and orphans, and return the bytes freed."""
    return size([item for item in doomed if folders.remove(item.uri)])
