"""Test when a night refits a champion, and the reasons that it gives."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from raypipe.versions.refit import by_age, by_alerts

NIGHT = date(2026, 1, 31)
DATES = [NIGHT - timedelta(days=days) for days in (1, 2, 3)]


@pytest.mark.parametrize(("policy", "days"), [("nightly", 1), ("weekly", 7), ("monthly", 30)])
def test_a_refit_is_due_once_the_last_fit_is_old_enough(policy: str, days: int) -> None:
    last = NIGHT - timedelta(days=days)
    assert by_age(policy, last + timedelta(days=1), NIGHT) is None
    cause = by_age(policy, last, NIGHT)
    assert cause is not None
    assert cause.reason == f"{policy}: the last fit was for {last}, {days} day{'s' * (days > 1)} before"


def test_a_night_that_is_repeated_or_older_than_the_last_fit_refits_nothing() -> None:
    assert by_age("nightly", NIGHT, NIGHT) is None
    assert by_age("nightly", NIGHT + timedelta(days=40), NIGHT) is None


def test_drift_that_lasts_is_a_cause_and_is_named() -> None:
    found = dict.fromkeys(DATES, ("drift:tenure_days", "drift:score"))
    cause = by_alerts("on_drift", found, NIGHT)
    assert cause is not None
    assert cause.reason == (
        "on_drift: drift on each of the last 3 published dates (2026-01-28 to 2026-01-30): score, tenure_days"
    )


def test_drift_of_two_nights_or_of_changing_features_is_none() -> None:
    assert by_alerts("on_drift", dict.fromkeys(DATES[:2], ("drift:score",)), NIGHT) is None
    changing = {day: (f"drift:f{day.day}",) for day in DATES}
    assert by_alerts("on_drift", changing, NIGHT) is None
    assert by_alerts("on_drift", {}, NIGHT) is None


def test_predictions_that_stay_worse_are_a_cause() -> None:
    cause = by_alerts("on_performance", dict.fromkeys(DATES, ("performance",)), NIGHT)
    assert cause is not None
    assert "each of the last 3 validated dates (2026-01-28 to 2026-01-30) were worse than at the fit" in cause.reason
