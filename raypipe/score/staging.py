"""The staging table of a run: narrow rows, one partition a slice."""

from __future__ import annotations

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import describe
from raypipe.data.contract import key_hash
from raypipe.errors import DataError
from raypipe.score.manifest import Manifest

# A chunk is remembered for as long as its slice may be retried; ten times the chunks of a run is ample.
WINDOW_A_CHUNK = 10
SMALLEST_WINDOW = 1000


def chunks_of(manifest: Manifest) -> int:
    """An upper bound of the run's chunks: every slice ends with one that may be short."""
    return manifest.source_rows // manifest.chunk_rows + len(manifest.slicing.slices)


def create(client: Client, manifest: Manifest) -> None:
    """Creates the staging table of a run, unless a run that is resumed has it already."""
    window = max(SMALLEST_WINDOW, WINDOW_A_CHUNK * chunks_of(manifest))
    columns = [
        f"{identifier(name)} {kind}"
        for name, kind in zip(
            (*manifest.keys, *manifest.carry), (*manifest.key_types, *manifest.carry_types), strict=True
        )
    ]
    client.run(
        f"CREATE TABLE IF NOT EXISTS {identifier(manifest.staging)} ({', '.join(columns)}, score Float32, slice UInt32,"
        f" chunk UInt32, attempt UInt64, key_hash UInt64 MATERIALIZED {key_hash(manifest.keys)})"
        " ENGINE = MergeTree PARTITION BY slice ORDER BY tuple()"
        # A published row is copied out within the hour: merging the parts first would be wasted work.
        f" SETTINGS non_replicated_deduplication_window = {window}, allow_nullable_key = 1"
    )


def check(client: Client, manifest: Manifest) -> None:
    """Refuses a staging table that does not remember its insert tokens: plain MergeTree does not by default."""
    table = describe(client, manifest.staging)
    if table is None:
        raise DataError(
            f"The staging table {manifest.staging} is gone",
            next_step=f"start again with `raypipe score {manifest.pipeline} --date {manifest.date}`",
        )
    window = int(table.settings.get("non_replicated_deduplication_window", "0"))
    if window < chunks_of(manifest):
        raise DataError(
            f"The staging table {manifest.staging} forgets its inserts too early to be written exactly once",
            found=f"non_replicated_deduplication_window = {window}",
            allowed=f"at least {chunks_of(manifest)}",
        )


def drop(client: Client, manifest: Manifest) -> None:
    """Drops everything that belongs to the run alone."""
    names = [manifest.staging, manifest.explanations, *(manifest.twin(target) for target in manifest.targets)]
    for name in [*names, manifest.snapshot]:
        if name is not None:
            client.run(f"DROP TABLE IF EXISTS {identifier(name)} SYNC")
