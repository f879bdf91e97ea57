"""Remove the artifacts of old versions: mark the versions in the registry first, then delete the artifacts."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from raypipe.artifact import stores
from raypipe.artifact.files import Stored
from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import Busy
from raypipe.registry.record import Registered
from raypipe.versions import retention

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pruned:
    """The result of a prune, or of its dry run.

    Attributes:
        versions: the versions that lost their artifacts.
        removed: the artifacts, without those that another version shares.
        orphans: artifacts of no version; removed on request alone.
        skipped: pipelines with a run at work.
        bytes: the space freed, with that of removed orphans.
    """

    versions: tuple[Registered, ...]
    removed: tuple[Stored, ...]
    orphans: tuple[Stored, ...]
    skipped: tuple[str, ...]
    bytes: int


def prune(
    endpoint: Endpoint, place: str, pipelines: Sequence[str], keep: int, *, orphans: bool, dry_run: bool
) -> Pruned:
    """Remove the artifacts of old versions that no alias and no run needs.

    Args:
        place: the place of artifacts, with the orphans.
        keep: the number of newest versions per pipeline that always stay.
        orphans: whether to remove artifacts of no registered version, too.
        dry_run: whether to remove nothing.
    """
    now = datetime.now(UTC)
    versions: list[Registered] = []
    skipped: list[str] = []
    with Client(endpoint) as client:
        for pipeline in pipelines:
            prunable = retention.prunable(client, pipeline, keep)
            # A lock for nothing would only block a run that begins now.
            if prunable and not dry_run:
                try:
                    prunable = _mark(client, pipeline, keep, now)
                except Busy as busy:
                    log.warning("%s was not pruned: %s", pipeline, busy.problem)
                    skipped.append(pipeline)
                    continue
            versions += prunable
        removed = retention.removable(client, versions)
        strays = retention.orphans(client, place, now)
        doomed = [*removed, *(strays if orphans else [])]
        size = retention.size(doomed) if dry_run else stores.delete(doomed, client)
    return Pruned(tuple(versions), tuple(removed), tuple(strays), tuple(skipped), size)


def _mark(client: Client, pipeline: str, keep: int, now: datetime) -> list[Registered]:
    """Mark the versions under the lock, so that no run, promotion or rollback can name them in between."""
    with lock.held(client, pipeline):
        versions = retention.prunable(client, pipeline, keep)
        for version in versions:
            retention.mark(client, version, now)
    return versions
