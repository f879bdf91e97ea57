"""Making room: versions that nothing names are marked in the registry, then their artifacts are removed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from raypipe.artifact.folders import ArtifactFolder
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import Busy
from raypipe.registry.record import Registered
from raypipe.versions import retention
from raypipe.versions.retention import Removal

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pruned:
    """What a prune removed, or would remove.

    Attributes:
        versions: which gave up their artifacts.
        removed: the artifacts; one that another version shares stays.
        orphans: what belongs to no version; removed only where it was asked for.
        skipped: pipelines that somebody works on.
        bytes: freed, or to be freed, orphans included where they go too.
    """

    versions: tuple[Registered, ...]
    removed: tuple[Removal, ...]
    orphans: tuple[ArtifactFolder, ...]
    skipped: tuple[str, ...]
    bytes: int


def prune(
    endpoint: Endpoint, root: str, pipelines: Sequence[str], keep: int, *, orphans: bool, dry_run: bool
) -> Pruned:
    """Removes the artifacts of old versions that nothing names.

    Args:
        endpoint: the ClickHouse.
        root: the artifacts' folder, where orphans are looked for.
        pipelines: of which versions go; those that have none are passed over.
        keep: how many of the newest versions of each pipeline stay in any case.
        orphans: whether what belongs to no registered version goes as well.
        dry_run: only look.
    """
    now = datetime.now(UTC)
    going: list[Registered] = []
    skipped: list[str] = []
    with Client(endpoint) as client:
        for pipeline in pipelines:
            if dry_run:
                going += retention.prunable(client, pipeline, keep)
                continue
            if not retention.prunable(client, pipeline, keep):
                # A lock would only stand in the way of a run that begins now.
                continue
            try:
                # No run, promotion or rollback names a version of the pipeline meanwhile.
                with lock.held(client, pipeline):
                    chosen = retention.prunable(client, pipeline, keep)
                    for model in chosen:
                        retention.mark(client, model, now)
                    going += chosen
            except Busy as busy:
                log.warning("%s was left alone: %s", pipeline, busy.problem)
                skipped.append(pipeline)
        removed = retention.removable(client, going)
        strays = retention.orphans(client, root, now)
        doomed: list[Removal | ArtifactFolder] = [*removed, *(strays if orphans else [])]
        size = retention.size(doomed) if dry_run else retention.remove(doomed)
    return Pruned(tuple(going), tuple(removed), tuple(strays), tuple(skipped), size)
