"""Verify a published run against the ledger, by plain SQL that anybody with SELECT can run again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date

from raypipe.artifact import stores
from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import describe, short_name
from raypipe.data.slices import unsliced
from raypipe.errors import ModelError, OutdatedArtifact, RaypipeError, UsageError
from raypipe.proof import checks
from raypipe.proof.checks import Check, TargetRows
from raypipe.score import ledger, runs
from raypipe.score.ledger import UINT64
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.runs import Run

_LEDGER = """
SELECT sum(rows_read) AS rows_read, sum(checksum) AS checksum, sum(rows_scored) AS rows_scored,
    sum(rows_rejected) AS rows_rejected
FROM raypipe_slices FINAL
WHERE run_id = {run_id:String}
"""
_MODEL = """
SELECT model_code AS pipeline, model_version, JSONExtractString(metadata, 'artifact_sha256') AS artifact_sha256
FROM ml_model_registry FINAL
WHERE model_id = {model_id:String}
"""


@dataclass(frozen=True)
class Verification:
    """The verification of a run.

    Attributes:
        status: the run's status; SUPERSEDED also where a later run is committed and this run is not retired yet.
        superseded_by: the later run; '' without one.
        checks: none for a run that is not published.
    """

    run: Run
    status: str
    superseded_by: str
    checks: tuple[Check, ...]
    seconds: float = 0.0

    @property
    def wrong(self) -> tuple[Check, ...]:
        """Return the checks that are wrong."""
        return tuple(check for check in self.checks if check.status == "wrong")

    @property
    def is_ok(self) -> bool:
        """Return whether the run is, or was, published and nothing is wrong."""
        return self.status in runs.FINISHED and not self.wrong


def committed(client: Client, day: date | None, pipeline: str | None) -> list[Run]:
    """Return the committed runs of a date, of all pipelines or of one; by default of the latest published date.

    Raises:
        UsageError: nothing is published for the date; the message lists the latest dates.
    """
    by_day = runs.committed_by_day(runs.history(client))
    dates = sorted({on for name, on in by_day if pipeline in (None, name)}, reverse=True)
    wanted = day or next(iter(dates), None)
    if wanted not in dates:
        raise UsageError(
            f"{pipeline or 'No pipeline'} has {'no' if pipeline else 'a'} published run of {wanted or 'any date'}",
            found=f"published dates {', '.join(map(str, dates[:5]))}" if dates else "no published run",
            allowed="a date with a run that is PUBLISHED",
            next_step="`raypipe runs` lists the runs",
        )
    return [
        runs.find(client, run.run_id)
        for (name, on), run in sorted(by_day.items())
        if on == wanted and pipeline in (None, name)
    ]


def verify(client: Client, run: Run, *, fresh: bool = False) -> Verification:
    """Compare a run's source, model, rows and views with the ledger.

    Args:
        fresh: whether the run was published just now, so that a source that differs is wrong. Then a source that the
            run copied is not read again: the run counted the copy, and others write to the source.

    Raises:
        DataError: another version of raypipe wrote the run's manifest.
        UsageError: a target has no table.
    """
    started = time.perf_counter()
    later = runs.committed(client, run)
    if run.status == runs.PUBLISHED and (later is None or later.sequence < run.sequence):
        made = tuple(_published(client, run, fresh))
        result = Verification(run, run.status, "", made)
    elif run.status in runs.FINISHED:
        gone = (item for name in json.loads(run.published) for item in _rows(client, run, name).superseded(client, run))
        result = Verification(run, runs.SUPERSEDED, later.run_id if later else "", tuple(gone))
    else:
        result = Verification(run, run.status, "", ())
    return replace(result, seconds=round(time.perf_counter() - started, 3))


def _published(client: Client, run: Run, fresh: bool) -> Iterator[Check]:
    manifest = Manifest.from_json(run.manifest)
    source = None if fresh and manifest.snapshot else _source(client, manifest)
    if source is not None:
        yield (
            source
            if source.status == "ok" or fresh
            else replace(source, status="warning", reason=source.reason or "the source has changed since")
        )
    yield _ledger(client, run, manifest)
    yield _model(client, manifest)
    yield _artifact(client, manifest)
    staged = run.source_rows - run.rows_rejected
    checksum = _staged_checksum(client, run)
    for target in manifest.targets:
        rows = _rows(client, run, short_name(client, target.table))
        yield from _with_keys(rows, run, manifest, target, staged, checksum).checks(client, run)


def _source(client: Client, manifest: Manifest) -> Check | None:
    """Count the population again; None where the run read only a copy of its own, which is gone."""
    select = manifest.features_select or (manifest.select if manifest.snapshot is None else None)
    if select is None:
        return None
    sql = f"SELECT count() AS rows, sum(ifNull(key_hash, 0)) AS checksum\nFROM (\n{unsliced(select)}\n)"
    expected = {"rows": manifest.source_rows, "checksum": manifest.source_checksum}
    return checks.ask(client, "source", sql, manifest.select_parameters, expected)


def _ledger(client: Client, run: Run, manifest: Manifest) -> Check:
    expected = {
        "rows_read": manifest.source_rows,
        "checksum": manifest.source_checksum,
        "rows_scored": manifest.source_rows - run.rows_rejected,
        "rows_rejected": run.rows_rejected,
    }
    return checks.ask(client, "ledger", _LEDGER.strip(), {"run_id": run.run_id}, expected)


def _model(client: Client, manifest: Manifest) -> Check:
    expected = {
        "pipeline": manifest.pipeline,
        "model_version": manifest.model_version,
        "artifact_sha256": manifest.artifact_sha256,
    }
    return checks.ask(client, "model", _MODEL.strip(), {"model_id": manifest.model_id}, expected)


def _artifact(client: Client, manifest: Manifest) -> Check:
    """Hash the files of the artifact, where they can be read from here."""
    store = stores.at(manifest.artifact_uri, client)
    expected = {"artifact_sha256": manifest.artifact_sha256}
    check = Check("artifact", "", expected, expected, "ok")
    try:
        stored = store.find(manifest.artifact_sha256)
    except (RaypipeError, OSError):
        stored = None
    if stored is None:
        reason = f"no artifact can be read from here at {manifest.artifact_uri}"
        return replace(check, found={}, status="warning", reason=reason)
    try:
        store.check(manifest.artifact_sha256)
    except OutdatedArtifact:
        # Its bytes are those of the hash, in the format of another version.
        return check
    except ModelError as error:
        return replace(check, found={}, status="wrong", reason=f"{error.problem} ({error.found})")
    return check


def _staged_checksum(client: Client, run: Run) -> int:
    """Return the sum of the hashes of the keys that were not rejected."""
    if not run.rows_rejected:
        return run.source_checksum
    return sum(receipt.scored_checksum for receipt in ledger.receipts(client, run.run_id)) % UINT64


def _rows(client: Client, run: Run, name: str) -> TargetRows:
    """Return what the ledger says of a target."""
    table = describe(client, name)
    if table is None:
        raise UsageError(
            f"The target {name} of the run {run.run_id} does not exist",
            next_step="restore the table, then run the date again",
        )
    return TargetRows(name, table, _place(client, run, name), json.loads(run.published)[name]["rows"])


def _place(client: Client, run: Run, name: str) -> str:
    """Return the expression that reads the run's rows: a later run, unfinished, may keep them in a copy."""
    keepers = [other for other in runs.siblings(client, run) if other.sequence > run.sequence]
    copies = {other.sequence: json.loads(other.previous).get(name) for other in keepers}
    copy = next((copy for _, copy in sorted(copies.items(), reverse=True) if copy), "")
    if copy and sharding.distributed(client, name):
        # The copies are on the shards alone.
        standing = identifier(f"{current_views.STANDING}{name}")
        return f"(SELECT * FROM {standing} WHERE {current_views.PLACE} = {literal(copy)})"
    return identifier(copy or name)


def _with_keys(
    rows: TargetRows, run: Run, manifest: Manifest, target: PublishTarget, staged: int, checksum: int
) -> TargetRows:
    """Add the keys where the target has one row per entity.

    The ledger has no checksum of a run that left duplicates out.
    """
    if target.rows != "count()":
        return rows
    if manifest.duplicates == "keep_one" and run.rows_published != staged:
        return replace(rows, rows=run.rows_published)
    return replace(rows, rows=staged, keys=checks.key_columns(manifest, target, rows.table), checksum=checksum)
