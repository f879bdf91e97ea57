"""The staging table of a run: narrow rows, one partition a slice."""

from __future__ import annotations

from raypipe.artifact.contract import key_hash
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import describe
from raypipe.errors import DataError
from raypipe.score.manifest import Manifest

# A chunk is remembered for as long as its slice may be retried; ten times the chunks of a run is ample.
WINDOW_A_CHUNK = 10
SMALLEST_WINDOW = 1000
WINDOWS = ("non_replicated_deduplication_window", "replicated_deduplication_window")


def chunks_of(manifest: Manifest) -> int:
    """An upper bound of the run's chunks: every slice ends with one that may be short."""
    return manifest.source_rows // manifest.chunk_rows + len(manifest.slicing.slices)


def create(client: Client, manifest: Manifest) -> None:
    """Creates the staging table of a run, unless a run that is resumed has it already.

    Raises:
        DataError: the run's copy of its population is gone, so that nothing could be read.
    """
    if manifest.snapshot is not None and describe(client, manifest.snapshot) is None:
        raise DataError(
            f"The copy of the population that run {manifest.run_id} scores is gone",
            found=f"no table {manifest.snapshot}",
            next_step=f"start again with `raypipe score {manifest.pipeline} --date {manifest.date}`",
        )
    window = max(SMALLEST_WINDOW, WINDOW_A_CHUNK * chunks_of(manifest))
    columns = [f"{identifier(name)} {kind}" for name, kind in manifest.staged_types.items()]
    columns.append(f"key_hash UInt64 MATERIALIZED {key_hash(manifest.keys)}")
    client.run(
        client.topology.create(
            manifest.staging,
            f"({', '.join(columns)})",
            partition="slice",
            order="tuple()",
            window=window,
            keep=True,
        )
    )


def check(client: Client, manifest: Manifest) -> None:
    """Refuses a staging table that does not remember its insert tokens: plain MergeTree does not by default."""
    table = describe(client, manifest.staging)
    if table is None:
        raise DataError(
            f"The staging table {manifest.staging} is gone",
            next_step=f"start again with `raypipe score {manifest.pipeline} --date {manifest.date}`",
        )
    window = max(int(table.settings.get(name, "0")) for name in WINDOWS)
    if window < chunks_of(manifest):
        raise DataError(
            f"The staging table {manifest.staging} forgets its inserts too early to be written exactly once",
            found=f"deduplication window = {window}",
            allowed=f"at least {chunks_of(manifest)}",
        )


def drop(client: Client, manifest: Manifest) -> None:
    """Drops everything that belongs to the run alone."""
    names = [manifest.staging, manifest.explanations, *(manifest.twin(target) for target in manifest.targets)]
    for name in [*names, manifest.snapshot]:
        if name is not None:
            client.run(client.topology.drop(name))
