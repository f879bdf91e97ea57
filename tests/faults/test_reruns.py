"""Test the rerun of a date, and the removal of the earlier run."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.schema import leftovers
from raypipe.score import publish, run, runs
from tests.conftest import FittedPublisher
from tests.faults.nights import (
    DAY,
    Night,
    exchanged,
    older,
    own_night,
)
from tests.faults.oracle import assert_exact, own_tables

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.mark.parametrize("schema", ["raypipe", "publisher"])
def test_a_rerun_of_a_date_leaves_no_row_of_the_earlier_run(fitted_publisher: FittedPublisher, schema: str) -> None:
    with own_night(fitted_publisher, schema) as night:
        first = older(night.plan())
        night.assert_exact(night.run(first))
        exchanged(night)
        night.assert_exact(night.score())
        assert night.status(first) == runs.SUPERSEDED


def test_what_a_run_that_died_behind_its_commit_left_beside_it_goes_with_doctor_clean(
    monthly: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = monthly.score()
    with monkeypatch.context() as patch:
        patch.setattr(run, "_tidy", lambda *_: None)
        second = monthly.score()
    with pytest.raises(AssertionError):
        assert_exact(monthly.client, DAY, second)
    leftovers.clean(monthly.client)
    assert run.retire_superseded(monthly.client) == (first,)
    assert_exact(monthly.client, DAY, second)
    assert own_tables(monthly.client) == []


def test_without_removing_the_earlier_run_a_month_holds_both(monthly: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    monthly.score()
    monkeypatch.setattr(publish, "remove_earlier", lambda *_: None)
    run_id = monthly.score()
    with pytest.raises(AssertionError):
        assert_exact(monthly.client, DAY, run_id)


def test_without_replace_a_rerun_leaves_the_rows_of_the_earlier_run_for_a_while(
    night: Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    night.score()
    monkeypatch.setattr(publish, "method", lambda _: "move")
    monkeypatch.setattr(publish, "remove_earlier", lambda *_: None)
    run_id = night.score()
    with pytest.raises(AssertionError):
        assert_exact(night.client, DAY, run_id)
