"""The gate: nothing is published unless staging holds the whole population, each entity once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.data.slices import unsliced
from raypipe.errors import GateRefused
from raypipe.score import ledger
from raypipe.score.ledger import UINT64, Receipt
from raypipe.score.manifest import Manifest


@dataclass(frozen=True)
class Passed:
    """What the gate counted: rows staged, and rows rejected with a reason."""

    staged: int
    rejected: int


def population(client: Client, select: str, parameters: dict[str, object]) -> tuple[int, int]:
    """The number of rows of a compiled query and the sum of their key hashes, modulo 2^64."""
    sql = f"SELECT count(), sum(ifNull(key_hash, 0)) FROM (\n{unsliced(select)}\n)"
    (row,) = client.rows(sql, parameters)
    return int(row[0]), int(row[1]) % UINT64


def rows_now(client: Client, manifest: Manifest) -> int:
    """The population's size as it is now."""
    sql = f"SELECT count() FROM (\n{unsliced(manifest.select)}\n)"
    return int(client.value(sql, manifest.select_parameters))


def check(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> Passed:
    """Counts staging and the source, and compares them with the manifest and the ledger.

    Raises:
        GateRefused: they disagree; the message says how. The target is unchanged.
        ServerError: a count could not be made, which is not a pass.
    """
    _complete(manifest, written)
    _as_read(manifest, written)
    _accounted(manifest, written)
    alone = _as_staged(client, manifest, written)
    rejected = sum(receipt.rows_rejected for receipt in written)
    check_rejected(manifest, rejected)
    _still_the_same(client, manifest)
    staged = _distinct(client, manifest, written, alone)
    return Passed(staged, rejected)


def check_rejected(manifest: Manifest, rejected: int) -> None:
    """Refuses a run that had to set aside more rows than the config allows."""
    allowed = manifest.max_rejected * manifest.source_rows
    if rejected > allowed:
        raise _refusal(
            manifest,
            "too many rows could not be scored",
            f"{rejected} of {manifest.source_rows} rows",
            f"{allowed:.0f} (score.max_rejected = {manifest.max_rejected})",
            f"look at their reasons: SELECT * FROM raypipe_counted_rejections WHERE run_id = '{manifest.run_id}'",
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
            "the slices did not read the population that the manifest counted: the source changed meanwhile",
            f"{read} rows with checksum {checksum}",
            f"{manifest.source_rows} rows with checksum {manifest.source_checksum}",
            "score again when the source is at rest, or set source.snapshot: true to copy it first",
        )


def _accounted(manifest: Manifest, written: Sequence[Receipt]) -> None:
    wrong = [item for item in written if item.rows_staged + item.rows_rejected != item.rows_read]
    if wrong:
        raise _refusal(
            manifest,
            f"rows are neither staged nor rejected in {len(wrong)} slices",
            f"slice {wrong[0].slice}: {wrong[0].rows_staged} staged, {wrong[0].rows_rejected} rejected",
            f"{wrong[0].rows_read} rows, as read",
        )


def _as_staged(client: Client, manifest: Manifest, written: Sequence[Receipt]) -> bool:
    """Whether staging holds nothing but the rows that count: an attempt that failed leaves some of its own."""
    found = ledger.staged(client, manifest)
    wrong = [item.slice for item in written if not ledger.confirms(found.get((item.slice, item.attempt)), item)]
    if wrong:
        first = next(item for item in written if item.slice == wrong[0])
        raise _refusal(
            manifest,
            f"staging does not hold what the ledger says in {len(wrong)} slices",
            f"slice {wrong[0]}: {found.get((first.slice, first.attempt))}",
            f"{first.rows_staged} rows in {first.chunks} chunks with checksum {first.staged_checksum}",
            f"`raypipe resume {manifest.run_id}` scores those slices again",
        )
    return found.keys() <= {(receipt.slice, receipt.attempt) for receipt in written}


def _still_the_same(client: Client, manifest: Manifest) -> None:
    now = rows_now(client, manifest)
    if now != manifest.source_rows:
        raise _refusal(
            manifest,
            "the source changed while it was scored",
            f"{now} rows now",
            f"{manifest.source_rows} rows, as when the run began",
            "score again when the source is at rest, or set source.snapshot: true to copy it first",
        )


def _distinct(client: Client, manifest: Manifest, written: Sequence[Receipt], alone: bool) -> int:
    """The rows that will be published: all that count, or one a key where the config says so."""
    # A third faster without the condition, over the whole of a large run.
    where = "" if alone else "WHERE attempt IN {attempts:Array(UInt64)}"
    bound = {"attempts": ledger.attempts(written)}
    staging = client.topology.everywhere(manifest.staging)
    (counted,) = client.rows(f"SELECT count(), uniqExact(key_hash) FROM {staging} {where}", bound)
    rows, distinct = int(counted[0]), int(counted[1])
    if rows == distinct:
        return rows
    keys = ", ".join(identifier(name) for name in manifest.keys)
    # Two keys may share a hash; only the keys themselves prove a duplicate.
    distinct = int(client.value(f"SELECT uniqExact({keys}) FROM {staging} {where}", bound))
    if rows == distinct or manifest.duplicates == "keep_one":
        return distinct
    sample = client.rows(f"SELECT {keys} FROM {staging} {where} GROUP BY {keys} HAVING count() > 1 LIMIT 3", bound)
    raise _refusal(
        manifest,
        "entities stand more than once in the features query",
        f"{rows - distinct} of {rows} rows, for example {', '.join(str(row) for row in sample)}",
        "each entity once",
        "make the query yield its grain, or set score.duplicates: keep_one",
    )


def _refusal(manifest: Manifest, problem: str, found: str, allowed: str, next_step: str | None = None) -> GateRefused:
    return GateRefused(
        f"Run {manifest.run_id} was not published: {problem}", found=found, allowed=allowed, next_step=next_step
    )
