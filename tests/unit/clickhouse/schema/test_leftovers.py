"""Test when a run's own table may be dropped."""

from __future__ import annotations

from datetime import timedelta

import pytest

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
