"""Test when alerts open, go on, and end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.alerts.reading import Outcome, Place, Reading
from raypipe.alerts.rules import Alert, judge
from raypipe.config.alerts import Rule

FIRST = date(2026, 1, 30)
NOW = datetime(2026, 1, 31, 3, tzinfo=UTC)
AUC = Place("churn", "auc")


def day(number: int) -> date:
    return FIRST + timedelta(days=number)


def reading(number: int, value: float, place: Place = AUC) -> Reading:
    return Reading(place, day(number), value)


def judged(rule: Rule | None, *nights: list[Reading], **rules: Rule) -> list[Alert]:
    """Return the alerts after some nights, each episode once."""
    known: dict[str, Alert] = {}
    for night in nights:
        standing = [alert for alert in known.values() if alert.status in ("pending", "open")]
        changed = judge({"churn": {"low": rule, **rules}}, night, standing, NOW)
        known |= {alert.alert_id: alert for alert in changed}
    return list(known.values())


def statuses(*arguments: Any, **rules: Rule) -> list[str]:
    return [alert.status for alert in judged(*arguments, **rules)]


LOW = Rule(metric="auc", below=0.7)


def test_a_value_beyond_the_limit_opens_an_alert_in_words() -> None:
    (alert,) = judged(LOW, [reading(0, 0.65)])
    assert (alert.status, alert.opened_at, alert.dates) == ("open", NOW, (day(0),))
    assert alert.message == "churn: auc is 0.65, below 0.7, on 2026-01-30"


def test_the_limit_itself_opens_nothing() -> None:
    assert statuses(LOW, [reading(0, 0.7)]) == []


def test_an_alert_that_goes_on_is_one_alert() -> None:
    (alert,) = judged(LOW, [reading(0, 0.6)], [reading(1, 0.5)], [reading(2, 0.4)])
    assert (alert.status, alert.value, alert.dates) == ("open", 0.4, (day(0), day(1), day(2)))
    assert "since 2026-01-30, 3 dates" in alert.message


def test_an_alert_ends_with_the_first_value_within_the_limit_and_may_open_again() -> None:
    assert statuses(LOW, [reading(0, 0.6)], [reading(1, 0.8)]) == ["resolved"]
    again = datetime(2026, 2, 2, tzinfo=UTC)
    (first,) = judged(LOW, [reading(0, 0.6)], [reading(1, 0.8)])
    (second,) = judge({"churn": {"low": LOW}}, [reading(2, 0.6)], (), again)
    assert first.alert_id != second.alert_id


def test_a_rule_of_several_nights_waits_and_forgets_a_single_night() -> None:
    rule = Rule(metric="auc", below=0.7, nights=2)
    assert statuses(rule, [reading(0, 0.6)]) == ["pending"]
    assert statuses(rule, [reading(0, 0.6)], [reading(1, 0.6)]) == ["open"]
    assert statuses(rule, [reading(0, 0.6)], [reading(1, 0.8)], [reading(2, 0.6)]) == ["passed", "pending"]


def test_a_date_that_is_run_again_counts_once_and_its_last_value_counts() -> None:
    rule = Rule(metric="auc", below=0.7, nights=2)
    assert statuses(rule, [reading(0, 0.6)], [reading(0, 0.5)]) == ["pending"]
    assert statuses(LOW, [reading(0, 0.6)], [reading(0, 0.8)]) == ["resolved"]


def test_an_older_date_changes_nothing() -> None:
    (alert,) = judged(LOW, [reading(3, 0.6)], [reading(1, 0.9)])
    assert (alert.status, alert.value) == ("open", 0.6)


def test_a_night_without_a_value_changes_nothing() -> None:
    assert statuses(LOW, [reading(0, 0.6)], []) == ["open"]


def test_an_alert_of_a_rule_that_is_gone_ends() -> None:
    opened = judged(LOW, [reading(0, 0.6)])
    for rules in ({}, {"low": None}, {"low": Rule(metric="f1", below=0.1)}):
        (ended,) = judge({"churn": rules}, [reading(1, 0.6)], opened, NOW)
        assert (ended.status, ended.message) == ("resolved", "churn: auc is no longer judged by the rule low")
    # Nothing is known of a pipeline that did not run.
    assert judge({"clicks": {}}, [], opened, NOW) == []


def test_slices_are_judged_where_the_rule_says_so_and_end_when_they_vanish() -> None:
    slice_ = Place("churn", "auc", "", "brand_id", "b2")
    assert statuses(LOW, [reading(0, 0.6, slice_)]) == []
    rule = Rule(metric="auc", below=0.7, slices=True)
    (alert,) = judged(rule, [reading(0, 0.6, slice_)])
    assert alert.message.startswith("churn: auc where brand_id is b2 is 0.6")
    (ended,) = judge({"churn": {"low": rule}}, [reading(1, 0.9)], [alert], NOW)
    assert (ended.status, ended.message.partition("b2 ")[2]) == ("resolved", "is no longer measured, as of 2026-01-31")


def test_drift_without_a_limit_of_the_rule_has_the_limit_of_the_monitoring() -> None:
    rule = Rule(metric="feature_drift")
    place = Place("churn", "feature_drift", "tenure_days")
    assert judge({"churn": {"drift": rule}}, [Reading(place, FIRST, 9.0)], (), NOW) == []
    (alert,) = judge({"churn": {"drift": rule}}, [Reading(place, FIRST, 0.4, is_alert=True)], (), NOW)
    assert alert.message == "churn: feature_drift of tenure_days is 0.4, more than usual, on 2026-01-30"


def test_a_failed_step_is_a_reading_with_its_reason() -> None:
    rule = Rule(metric="failed", above=0, severity="critical")
    steps = [Outcome("churn", False, 1.0, "The table is gone\n  found: nothing"), Outcome("clicks", True, 1.0)]
    readings = [step.reading(FIRST) for step in steps]
    (alert,) = judge({"churn": {"failed": rule}, "clicks": {"failed": rule}}, readings, (), NOW)
    assert alert.severity == "critical"
    assert alert.message == "churn: failed is 1, above 0, on 2026-01-30 (The table is gone)"
