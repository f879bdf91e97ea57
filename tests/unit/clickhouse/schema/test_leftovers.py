"""Test when a run's own table may be dropped."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from raypipe.clickhouse.lock import Owner
from raypipe.clickhouse.schema import leftovers
from raypipe.clickhouse.schema.leftovers import Leftover

DAY = timedelta(hours=24)
HOUR = timedelta(hours=1)


def leftover(status: str = "", age: timedelta | None = HOUR) -> Leftover:
    return Leftover("raypipe_staging_churn_20260131_0badcafe", "staging", status, age)


@pytest.mark.parametrize("status", ["PUBLISHED", "SUPERSEDED"])
def test_a_published_run_is_over_at_once(status: str) -> None:
    assert leftover(status).is_over()


@pytest.mark.parametrize("status", ["REFUSED", "FAILED", "INTERRUPTED"])
def test_a_failed_run_may_be_resumed_for_a_day(status: str) -> None:
    assert not leftover(status, age=DAY - HOUR).is_over()
    assert leftover(status, age=DAY).is_over()


@pytest.mark.parametrize("status", ["RUNNING", "STAGED", "PUBLISHING"])
def test_a_run_without_an_end_is_never_over(status: str) -> None:
    assert not leftover(status, age=30 * DAY).is_over()


def test_an_unknown_run_is_over_after_a_day() -> None:
    assert not leftover(age=DAY - HOUR).is_over()
    assert leftover(age=DAY).is_over()


def test_an_unknown_run_of_unknown_age_is_spared() -> None:
    assert not leftover(age=None).is_over()


def lock(status: str, owner: Owner, age: timedelta = 30 * DAY) -> Leftover:
    return Leftover("raypipe_lock_churn_e1", "lock", status, age, owner)


@pytest.mark.parametrize("status", ["PUBLISHED", "FAILED", ""])
def test_the_lock_of_a_process_that_works_is_never_over(status: str) -> None:
    assert not lock(status, Owner.here("churn_1")).is_over()


@pytest.mark.parametrize("status", ["PUBLISHED", "RUNNING", ""])
def test_the_lock_of_a_process_that_is_gone_is_over_at_once(status: str) -> None:
    gone = replace(Owner.here("churn_1"), started="0")
    assert lock(status, gone, HOUR).is_over()


def test_a_lock_of_another_host_is_over_after_a_day_unless_its_run_works() -> None:
    elsewhere = replace(Owner.here("churn_1"), host="elsewhere")
    assert not lock("PUBLISHED", elsewhere, DAY - HOUR).is_over()
    assert lock("PUBLISHED", elsewhere, DAY).is_over()
    assert not lock("RUNNING", elsewhere).is_over()


def test_a_table_belongs_to_the_run_with_the_longest_id_in_its_name() -> None:
    statuses = {"churn_1": "PUBLISHED", "my_churn_1": "RUNNING", "": "FAILED"}
    assert leftovers._owner("raypipe_staging_my_churn_1 ", statuses) == "my_churn_1"
    assert leftovers._owner("raypipe_staging_my_clicks_1 ", statuses) == ""


def test_a_copy_of_a_committed_run_is_kept_until_a_later_run_is_committed() -> None:
    copy = Leftover("raypipe_previous_churn_1_e2_of_t", "previous", "PUBLISHED", 30 * DAY)
    assert not copy.is_over()
    assert replace(copy, status="SUPERSEDED").is_over()
