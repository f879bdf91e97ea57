"""Find the published run of a date, and read its source again through the SQL that the run froze."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.server_errors import STATEMENT
from raypipe.errors import DataError, ServerError, UsageError
from raypipe.score import ledger, runs
from raypipe.score.fingerprints import Fingerprints, combined
from raypipe.score.manifest import Manifest
from raypipe.score.runs import Run

SHOWN_DATES = 5


@dataclass(frozen=True)
class Published:
    """The committed run of a date, with the plan that it froze."""

    run: Run
    manifest: Manifest

    @property
    def select(self) -> str:
        """Return the compiled features query of the source, with its `{slice}`; a copy of the run is gone by now."""
        return self.manifest.features_select or self.manifest.select

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Return the values that the query binds."""
        return self.manifest.select_parameters

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Turn an error of the frozen SQL into an error that names the run.

        Raises:
            DataError: the source no longer has what the query reads.
        """
        try:
            yield
        except ServerError as error:
            if error.code not in STATEMENT:
                raise
            raise DataError(
                f"The source can no longer be read as the run {self.run.run_id} read it ({STATEMENT[error.code]})",
                found=error.found,
                next_step="restore the column or the table that the message names",
            ) from error


def find(client: Client, pipeline: str, day: date | None) -> Published:
    """Return the committed run of a date, by default of the latest published date.

    Raises:
        UsageError: nothing is published for the date; the message lists the latest dates.
        DataError: another version of raypipe wrote the run's manifest.
    """
    rows = client.rows(
        "SELECT date, argMax(run_id, sequence) FROM raypipe_runs FINAL"
        " WHERE pipeline = {pipeline:String} AND status = 'PUBLISHED' GROUP BY date ORDER BY date DESC",
        {"pipeline": pipeline},
    )
    committed = {published_on: run_id for published_on, run_id in rows}
    wanted = day or next(iter(committed), None)
    if wanted is None or wanted not in committed:
        latest = ", ".join(str(published_on) for published_on in list(committed)[:SHOWN_DATES])
        raise UsageError(
            f"{pipeline} has no published run of {wanted or 'any date'}",
            found=f"published dates {latest}" if latest else "no published run",
            allowed="a date with a run that is PUBLISHED",
            next_step=f"`raypipe runs {pipeline}` lists the runs"
            if latest
            else f"publish the first with `raypipe run {pipeline}`",
        )
    run = runs.find(client, committed[wanted])
    return Published(run, Manifest.from_json(run.manifest))


def fingerprints(client: Client, run_id: str) -> Fingerprints | None:
    """Return the fingerprints of the rows that a run read, or None where its slices keep none."""
    kept = (receipt.fingerprints for receipt in ledger.receipts(client, run_id))
    return combined(Fingerprints.from_json(document) for document in kept if document)
