"""The parts of a target: on a cluster each shard has one. They are prepared apart and committed together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import short_name
from raypipe.errors import GateRefused
from raypipe.score import publish, publish_sql
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.publish import PreparedTarget

# A shard without new rows keeps the earlier run's until the commit.
NOTHING = "nothing"


@dataclass(frozen=True)
class Part:
    """The new rows of a target on one server; a target that is not sharded has a single part.

    Attributes:
        client: the connection to the server.
        rows: the number of new rows there.
    """

    client: Client
    prepared: PreparedTarget
    rows: int

    @property
    def table(self) -> str:
        """Return the target's name."""
        return self.prepared.target.table


def prepare(
    client: Client, manifest: Manifest, target: PublishTarget, written: Sequence[Receipt], rows: int, epoch: int
) -> list[Part]:
    """Fill a twin of a target on each of its servers; see `publish.prepare`.

    Args:
        rows: the number of staged rows, each entity once.
    """
    holders = sharding.holders(client, target.table)
    if holders == (client,):
        counts = [publish_sql.expected(client, manifest, target, written, rows)]
    else:
        counts = [publish_sql.counted(holder, manifest, target, written) for holder in holders]
        _require_all(manifest, target, sum(counts), rows)
    parts = [
        Part(holder, publish.prepare(holder, manifest, target, written, count, epoch), count)
        for holder, count in zip(holders, counts, strict=True)
        if count
    ]
    without = replace(parts[0].prepared, how=NOTHING, twin="")
    return [*parts, *(Part(holder, without, 0) for holder, count in zip(holders, counts, strict=True) if not count)]


def _require_all(manifest: Manifest, target: PublishTarget, found: int, rows: int) -> None:
    if not found or (target.rows == "count()" and found != rows):
        raise GateRefused(
            f"Run {manifest.run_id} was not published: the shards do not have the rows for {target.table}",
            found=f"{found} rows on all shards",
            allowed=f"{rows} rows, each entity on one shard" if target.rows == "count()" else "at least one row",
            next_step="shard the source by its entity, and look at the run's staging table",
        )


def swap(manifest: Manifest, part: Part) -> None:
    """Swap a part in, whole; repeating it changes nothing."""
    if part.prepared.how != NOTHING:
        publish.swap(part.client, manifest, part.prepared)


def published(client: Client, parts: Sequence[Part]) -> dict[str, dict[str, object]]:
    """Return the partition and the number of rows by target, for the run's row."""
    rows: dict[str, int] = {}
    for part in parts:
        rows[part.table] = rows.get(part.table, 0) + part.rows
    partitions = {part.table: part.prepared.partition for part in parts}
    return {short_name(client, table): {"partition": partitions[table], "rows": count} for table, count in rows.items()}
