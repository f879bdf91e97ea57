"""The gate: a run is published only if what stands holds the whole population, each entity once.

Keys are distinct in staging. The rows of a direct run are counted in their portions: the gate compares number and key
checksum of the read rows with the population, whose keys were distinct when it was counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data import pin
from raypipe.data.slices import unsliced
from raypipe.errors import GateRefused, PredictorDiffers
from raypipe.models.model import COMPILED
from raypipe.score import ledger
from raypipe.score.ledger import UINT64, Receipt
from raypipe.score.manifest import Manifest

SOURCE_CHANGED = "score again when no one writes to the source, or set source.snapshot: true to copy it first"


@dataclass(frozen=True)
class GateCounts:
    """The rows that the gate counted: to be published, and rejected with a reason."""

    staged: int
    rejected: int


@dataclass(frozen=True)
class Population:
    """A counted population.

    Attributes:
        checksum: the sum of the key hashes, modulo 2^64.
        is_distinct: whether the keys are distinct, those with a NULL aside; keys that share a hash count as equal. None
            where that was not counted.
        counted: further aggregates, by shard.
    """

    rows: int
    checksum: int
    is_distinct: bool | None
    counted: Sequence[Sequence[int]]


def population(
    client: Client,
    select: str,
    parameters: Mapping[str, object],
    further: Sequence[str] = (),
    *,
    distinct: bool = False,
) -> Population:
    """Count a query's rows and the hashes in its column `key_hash`, in one statement per shard.

    Args:
        further: aggregates of the query's columns.
        distinct: whether to count repeated keys, which takes time.
    """
    keys = "uniqExact(key_hash) = count(key_hash)" if distinct else "1"
    counts = ", ".join(["count()", "sum(ifNull(key_hash, 0))", keys, *further])
    counted = _counted(client, select, parameters, counts)
    rows, checksum, is_distinct = (sum(column) for column in zip(*(shard[:3] for shard in counted), strict=True))
    return Population(
        rows,
        checksum % UINT64,
        is_distinct == len(counted) if distinct else None,
        [shard[3:] for shard in counted],
    )


def _counted(client: Client, select: str, parameters: Mapping[str, object], counts: str) -> list[list[int]]:
    """Return the aggregates of each shard's own rows."""
    sql = f"SELECT {counts} FROM (\n{unsliced(select)}\n)"
    return [[int(value) for value in shard.rows(sql, parameters)[0]] for shard in sharding.shards(client)]


def check(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> GateCounts:
    """Compare the counts of staging and source with the manifest and the ledger.

    Raises:
        GateRefused: they disagree; the message says how. The target is unchanged.
        ServerError: a count failed, so the run does not pass.
        PredictorDiffers: compiled trees scored some slices, and the library others.
    """
    _complete(manifest, written)
    _as_read(manifest, written)
    _accounted(manifest, written)
    _by_one_predictor(written)
    alone = _as_staged(client, manifest, written)
    rejected = sum(receipt.rows_rejected for receipt in written)
    check_rejected(manifest, rejected)
    require_unchanged(client, manifest)
    _still_the_same(client, manifest)
    _within_range(client, manifest)
    staged = _distinct(client, manifest, written, alone)
    return GateCounts(staged + sum(receipt.rows_direct for receipt in written), rejected)


def require_unchanged(client: Client, manifest: Manifest) -> None:
    """Refuse a run when a table that it reads was written to since the manifest was frozen.

    Raises:
        GateRefused: names a partition.
    """
    change = next(pin.changes(client, manifest.pinned), None)
    if change is not None:
        raise _refusal(manifest, "the source changed while the run read it", str(change), "no change", SOURCE_CHANGED)


def check_rejected(manifest: Manifest, rejected: int) -> None:
    """Refuse a run that rejected more rows than the config allows."""
    allowed = manifest.max_rejected * manifest.source_rows
    if rejected > allowed:
        raise _refusal(
            manifest,
            "too many rows could not be scored",
            f"{rejected} of {manifest.source_rows} rows",
            f"{allowed:.0f} (score.max_rejected = {manifest.max_rejected})",
            f"read the reasons: SELECT * FROM raypipe_counted_rejections WHERE run_id = '{manifest.run_id}'",
        )


def _complete(manifest: Manifest, written: Sequence[Receipt]) -> None:
    missing = {piece.index for piece in manifest.slicing.slices} - {receipt.slice for receipt in written}
    if missing:
        raise _refusal(
            manifest,
            "slices are missing from the ledger",
            f"{len(missing)} of {len(manifest.slicing.slices)}: {sorted(missing)[:10]}",
            "none missing",
        )
    if manifest.source_rows == 0:
        raise _refusal(manifest, "the population is empty", "0 rows", "at least one row")


def _as_read(manifest: Manifest, written: Sequence[Receipt]) -> None:
    read = sum(receipt.rows_read for receipt in written)
    checksum = sum(receipt.checksum for receipt in written) % UINT64
    if (read, checksum) != (manifest.source_rows, manifest.source_checksum):
        raise _refusal(
            manifest,
            "the source changed between the manifest and the scoring",
            f"{read} rows with checksum {checksum}",
            f"{manifest.source_rows} rows with checksum {manifest.source_checksum}",
            SOURCE_CHANGED,
        )


def _accounted(manifest: Manifest, written: Sequence[Receipt]) -> None:
    wrong = [item for item in written if item.rows_scored + item.rows_rejected != item.rows_read]
    if wrong:
        raise _refusal(
            manifest,
            f"rows are neither staged nor rejected in {len(wrong)} slices",
            f"slice {wrong[0].slice}: {wrong[0].rows_scored} staged, {wrong[0].rows_rejected} rejected",
            f"{wrong[0].rows_read} rows, as read",
        )


def _by_one_predictor(written: Sequence[Receipt]) -> None:
    compiled = sum(receipt.predictor == COMPILED for receipt in written)
    if 0 < compiled < len(written):
        raise PredictorDiffers(
            "Compiled trees scored some slices of the run, and the library others",
            found=f"compiled trees in {compiled} of {len(written)} slices",
            allowed="one predictor in a run",
            next_step="install the same packages on every node, llvmlite among them",
        )


def _as_staged(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> bool:
    """Return whether staging holds only rows that count; a failed attempt leaves rows that do not."""
    counts = ledger.staged(client, manifest)
    wrong = [item.slice for item in written if not ledger.confirms(counts.get((item.slice, item.attempt)), item)]
    if wrong:
        first = next(item for item in written if item.slice == wrong[0])
        raise _refusal(
            manifest,
            f"staging and ledger disagree in {len(wrong)} slices",
            f"slice {wrong[0]}: {counts.get((first.slice, first.attempt))}",
            f"{first.rows_staged} rows in {first.chunks} chunks with checksum {first.staged_checksum}"
            + f", {first.rows_direct} rows in the portion of each target" * manifest.direct,
            f"`raypipe resume {manifest.run_id}` scores those slices again",
        )
    return counts.keys() <= {(receipt.slice, receipt.attempt) for receipt in written}


def _still_the_same(client: Client, manifest: Manifest) -> None:
    now = sum(shard[0] for shard in _counted(client, manifest.select, manifest.select_parameters, "count()"))
    if now != manifest.source_rows:
        raise _refusal(
            manifest,
            "the source changed while it was scored",
            f"{now} rows now",
            f"{manifest.source_rows} rows, as when the run began",
            SOURCE_CHANGED,
        )


def _within_range(client: Client, manifest: Manifest) -> None:
    """Refuse staged scores that a worker should have rejected."""
    if manifest.score_range is None:
        return
    low, high = manifest.score_range
    # In the precision of the score, as in the worker. A NaN compares as false with anything.
    inside = "score >= toFloat32({low:Float64}) AND score <= toFloat32({high:Float64})"
    staging = identifier(manifest.staging)
    sql = f"SELECT countIf(NOT ({inside})), min(score), max(score) FROM {staging}"
    ((outside, least, most),) = client.rows(sql, {"low": low, "high": high})
    if outside:
        raise _refusal(
            manifest,
            f"{outside} staged scores are outside the range of their kind",
            f"{least:g} to {most:g}",
            f"{low:g} to {high:g}",
            f"score again; `raypipe fit {manifest.pipeline}` if the model itself gives such scores",
        )


def _distinct(client: Client, manifest: Manifest, written: Sequence[Receipt], alone: bool) -> int:
    """Return the number of rows to publish: all that count, or one per key where the config says so."""
    # Without the condition, the count of a large run is a third faster.
    where = "" if alone else "WHERE attempt IN {attempts:Array(UInt64)}"
    bound = {"attempts": ledger.attempts(written)}
    staging = identifier(manifest.staging)
    (counted,) = client.rows(f"SELECT count(), uniqExact(key_hash) FROM {staging} {where}", bound)
    rows, distinct = int(counted[0]), int(counted[1])
    if rows == distinct:
        return rows
    keys = ", ".join(identifier(name) for name in manifest.keys)
    # Two keys may share a hash, so only the keys themselves prove a duplicate.
    distinct = int(client.value(f"SELECT uniqExact({keys}) FROM {staging} {where}", bound))
    if rows == distinct or manifest.duplicates == "keep_one":
        return distinct
    sample = client.rows(f"SELECT {keys} FROM {staging} {where} GROUP BY {keys} HAVING count() > 1 LIMIT 3", bound)
    raise _refusal(
        manifest,
        "the features query yields some entities more than once",
        f"{rows - distinct} of {rows} rows, for example {', '.join(str(row) for row in sample)}",
        "each entity once",
        "correct the query to yield one row per entity, or set score.duplicates: keep_one",
    )


def _refusal(manifest: Manifest, problem: str, found: str, allowed: str, next_step: str | None = None) -> GateRefused:
    return GateRefused(
        f"Run {manifest.run_id} was not published: {problem}", found=found, allowed=allowed, next_step=next_step
    )
