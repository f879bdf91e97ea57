"""The staging table of a run: narrow rows, one partition per slice."""

from raypipe.artifact.contract import key_hash
from raypipe.clickhouse import sharding, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import describe
from raypipe.errors import DataError
from raypipe.score import portions
from raypipe.score.manifest import Manifest
from raypipe.score.runs import Run

# The table must remember a chunk as long as its slice may be retried; ten times the chunks of a run is ample.
WINDOW_PER_CHUNK = 10
SMALLEST_WINDOW = 1000
WINDOWS = ("non_replicated_deduplication_window", "replicated_deduplication_window")


def chunks_of(manifest: Manifest) -> int:
    """Return an upper bound of the run's chunks; the last chunk of each slice may be short."""
    return manifest.source_rows // manifest.chunk_rows + len(manifest.slicing.slices)


def create(client: Client, manifest: Manifest) -> None:
    """Create the staging table of a run, unless a resumed run has it already.

    Raises:
        DataError: the run's copy of its population no longer exists.
    """
    if manifest.snapshot is not None and not all(
        describe(shard, manifest.snapshot) for shard in sharding.shards(client)
    ):
        raise DataError(
            f"The copy of the population of run {manifest.run_id} no longer exists",
            found=f"no table {manifest.snapshot}",
            next_step=f"start a new run with `raypipe score {manifest.pipeline} --date {manifest.date}`",
        )
    window = max(SMALLEST_WINDOW, WINDOW_PER_CHUNK * chunks_of(manifest))
    columns = [f"{identifier(name)} {kind}" for name, kind in manifest.staged_types.items()]
    columns.append(f"key_hash UInt64 MATERIALIZED {key_hash(manifest.keys)}")
    statement = client.topology.create(
        manifest.staging,
        f"({', '.join(columns)})",
        partition="slice",
        order="tuple()",
        window=window,
        keep=True,
    )
    sharding.create(client, manifest.staging, statement)


def check(client: Client, manifest: Manifest) -> None:
    """Refuse a staging table that does not remember its insert tokens; by default, MergeTree remembers none."""
    for shard in sharding.shards(client):
        _check(shard, manifest)


def _check(client: Client, manifest: Manifest) -> None:
    table = describe(client, manifest.staging)
    if table is None:
        raise _gone(manifest)
    window = max(int(table.settings.get(name, "0")) for name in WINDOWS)
    if window < chunks_of(manifest):
        raise DataError(
            f"The staging table {manifest.staging} forgets its inserts too early for exactly-once writing",
            found=f"deduplication window = {window}",
            allowed=f"at least {chunks_of(manifest)}",
            next_step=f"start a new run with `raypipe score {manifest.pipeline} --date {manifest.date}`",
        )


def require(client: Client, manifest: Manifest) -> None:
    """Refuse to write for a run that is over: its staging table is gone.

    Raises:
        DataError: the table does not exist.
    """
    if not client.value(f"EXISTS TABLE {identifier(manifest.staging)}"):
        raise _gone(manifest)


def _gone(manifest: Manifest) -> DataError:
    return DataError(
        f"The staging table {manifest.staging} no longer exists",
        next_step=f"start a new run with `raypipe score {manifest.pipeline} --date {manifest.date}`",
    )


def drop(client: Client, run: Manifest | Run) -> None:
    """Drop every table that belongs to the run alone."""
    for kind in ("staging", "explain", "snapshot"):
        sharding.drop(client, f"raypipe_{kind}_{run.run_id}")
    portions.drop_of_run(client, run.pipeline, run.run_id)
    twins.drop_of_run(client, run.pipeline, run.run_id)
