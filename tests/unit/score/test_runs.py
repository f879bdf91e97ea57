"""Test the versions of a run's rows: the epoch of the writer, then its step."""

from __future__ import annotations

from datetime import date

from raypipe.clickhouse.lock_ledger import STEP_BITS
from raypipe.score import runs
from raypipe.score.runs import Run

EPOCH = 3
VERSION = EPOCH << STEP_BITS
ROW = Run("churn_1", "churn", date(2026, 1, 31), "id", "1", "", "", "", runs.RUNNING, "{}", 9, 9, 1, version=VERSION)


def test_a_row_of_the_same_writer_has_the_next_version() -> None:
    staged = runs._changed(ROW, EPOCH, status=runs.STAGED)
    assert (staged.status, staged.version) == (runs.STAGED, ROW.version + 1)


def test_a_row_of_the_next_owner_counts_whatever_the_former_owner_has_written() -> None:
    former = runs._changed(runs._changed(ROW, EPOCH), EPOCH)
    assert runs._changed(former, EPOCH + 1).version > former.version


def test_a_row_of_a_former_owner_does_not_count() -> None:
    taken = runs._changed(ROW, EPOCH + 1)
    assert runs._changed(taken, EPOCH).version < taken.version
