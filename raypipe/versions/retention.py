"""Which versions give up their artifacts, and the removal: first a mark in the registry, then the files.

An artifact is addressed by its content, so that two versions may share one: it goes when every version that has it is
marked and none of them is named by an alias or a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from raypipe.artifact import folders
from raypipe.artifact.folders import ArtifactFolder
from raypipe.clickhouse.client import Client
from raypipe.registry import models
from raypipe.registry.record import Registered
from raypipe.registry.rows import epoch, json_text, seconds, statement

# Younger ones may belong to a fit that has not registered its version yet.
ORPHAN_AGE = timedelta(days=1)


@dataclass(frozen=True)
class Removal:
    """An artifact that goes, with the bytes of its files."""

    artifact_sha256: str
    uri: str
    bytes: int


def prunable(client: Client, pipeline: str, keep: int) -> list[Registered]:
    """The versions of a pipeline that may give up their artifacts, the newest first.

    Never one of the newest `keep` that have an artifact, and never one that an alias names, or a run that is not
    superseded. Rows of the registry that others wrote are left as they are.
    """
    having = [model for model in models.list_models(client, pipeline) if _has_artifact(model) and not model.pruned_at]
    names = named(client)
    return [model for model in having[keep:] if (pipeline, model.version) not in names]


def named(client: Client) -> dict[tuple[str, str], tuple[str, ...]]:
    """By pipeline and version, the aliases and runs that need its artifact."""
    rows = client.rows(statement("named_versions").text)
    return {(pipeline, version): tuple(named_by) for pipeline, version, named_by in rows}


def mark(client: Client, model: Registered, at: datetime) -> None:
    """Writes down that a version's artifact goes at a moment in UTC."""
    metadata = json_text({**model.metadata, "pruned_at": seconds(at).isoformat()})
    parameters = {"pipeline": model.pipeline, "version": model.version, "metadata": metadata, "at": epoch(at)}
    client.run(statement("mark_pruned").text, parameters)


def removable(client: Client, going: Iterable[Registered] = ()) -> list[Removal]:
    """The artifacts that no version needs any more and that are still there.

    Args:
        client: of the database with the registry.
        going: versions that count as marked, to see what a removal would do.
    """
    versions, names = models.list_models(client), named(client)
    marked = {model.model_id for model in going} | {model.model_id for model in versions if model.pruned_at}
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
    return [one for one in sized if one.bytes]


def _has_artifact(model: Registered) -> bool:
    """Whether a version's files are an artifact of ours, in the folder of its own hash and not of another version's."""
    return bool(model.artifact_sha256) and model.artifact_uri.rstrip("/").endswith(f"/{model.artifact_sha256}")


def orphans(client: Client, root: str, now: datetime) -> list[ArtifactFolder]:
    """What stands under the artifacts' folder and belongs to no registered version, older than a day.

    Args:
        client: of the database with the registry.
        root: the artifacts' folder.
        now: the moment, UTC.
    """
    known = {model.artifact_sha256 for model in models.list_models(client)}
    return [
        one
        for one in folders.artifact_folders(root)
        if one.name not in known and one.written_at is not None and now - one.written_at > ORPHAN_AGE
    ]


def size(doomed: Sequence[Removal | ArtifactFolder]) -> int:
    """The bytes of artifacts and orphans."""
    return sum(one.bytes for one in doomed)


def remove(doomed: Sequence[Removal | ArtifactFolder]) -> int:
    """Removes artifacts and orphans, and returns the bytes that this freed."""
    return size([one for one in doomed if folders.remove(one.uri)])
