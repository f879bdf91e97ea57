"""Judge readings by rules: which alerts open, go on, and end."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from typing import Literal

from raypipe.alerts.reading import Place, Reading
from raypipe.config.alerts import Rule

Rules = Mapping[str, Rule | None]
Status = Literal["pending", "open", "resolved", "passed"]


@dataclass(frozen=True)
class Alert:
    """One episode of an alert.

    Attributes:
        status: `pending` before enough dates are beyond the limit; `passed` if it ended before that.
        value: the latest value.
        dates: the dates beyond the limit, in order.
        sent: by receiver, the status that it has got.
    """

    alert_id: str
    rule: str
    place: Place
    severity: str
    status: Status
    value: float
    message: str
    dates: tuple[date, ...]
    opened_at: datetime | None = None
    resolved_at: datetime | None = None
    sent: Mapping[str, str] = field(default_factory=dict)


Standing = Mapping[tuple[str, Place], Alert]


def judge(
    rules: Mapping[str, Rules], readings: Iterable[Reading], standing: Iterable[Alert], now: datetime
) -> list[Alert]:
    """Return the alerts that change.

    Args:
        rules: by pipeline, for the pipelines of the night.
        readings: the newest of each place.
        standing: the alerts that are pending or open.
    """
    known = {(alert.rule, alert.place): alert for alert in standing}
    newest: dict[tuple[str, str], date] = {}
    judged: dict[tuple[str, Place], Alert | None] = {}
    for reading in readings:
        place = reading.place
        of = (place.pipeline, place.metric)
        newest[of] = max(reading.date, newest.get(of, reading.date))
        for name, rule in _rules_of(rules.get(place.pipeline, {}), place):
            judged[name, place] = _judged(name, rule, reading, known.get((name, place)), now)
    changed = [alert for key, alert in judged.items() if alert is not None and alert != known.get(key)]
    return changed + [
        _ended(alert, f"{alert.place} {reason}", now)
        for key, alert in known.items()
        if key not in judged and (reason := _no_longer(alert, rules, newest))
    ]


def _rules_of(rules: Rules, place: Place) -> Iterator[tuple[str, Rule]]:
    for name, rule in rules.items():
        if rule is not None and rule.metric == place.metric and (rule.slices or not place.slice_column):
            yield name, rule


def _judged(name: str, rule: Rule, reading: Reading, known: Alert | None, now: datetime) -> Alert | None:
    """Return a place's alert after a reading; None without one."""
    if known is not None and reading.date < known.dates[-1]:
        return known
    if not is_beyond(rule, reading):
        return known and _ended(known, f"{reading.place} is back at {reading.value:.4g}", now, reading.value)
    before = known or Alert(_new_id(name, reading, now), name, reading.place, "", "pending", reading.value, "", ())
    dates = (*(day for day in before.dates if day < reading.date), reading.date)
    is_open = before.status == "open" or len(dates) >= rule.nights
    return replace(
        before,
        severity=rule.severity,
        status="open" if is_open else "pending",
        value=reading.value,
        message=_message(rule, reading, dates),
        dates=dates,
        opened_at=before.opened_at or (now if is_open else None),
    )


def is_beyond(rule: Rule, reading: Reading) -> bool:
    """Return whether a value is beyond a rule's limit, or beyond its own where the rule has none."""
    if rule.above is not None:
        return reading.value > rule.above
    return reading.value < rule.below if rule.below is not None else reading.is_alert


def _message(rule: Rule, reading: Reading, dates: tuple[date, ...]) -> str:
    limit = "more than usual"
    if rule.above is not None or rule.below is not None:
        limit = f"below {rule.below:g}" if rule.above is None else f"above {rule.above:g}"
    since = f"since {dates[0]}, {len(dates)} dates" if len(dates) > 1 else f"on {dates[0]}"
    text = f"{reading.place} is {reading.value:.4g}, {limit}, {since}"
    return f"{text} ({reading.note})" if reading.note else text


def _ended(alert: Alert, message: str, now: datetime, value: float | None = None) -> Alert:
    status: Status = "resolved" if alert.status == "open" else "passed"
    return replace(
        alert, status=status, message=message, resolved_at=now, value=alert.value if value is None else value
    )


def _no_longer(alert: Alert, rules: Mapping[str, Rules], newest: Mapping[tuple[str, str], date]) -> str:
    """Return why an alert without a reading ends; empty if it goes on."""
    place = alert.place
    if place.pipeline not in rules:
        return ""
    rule = rules[place.pipeline].get(alert.rule)
    if rule is None or rule.metric != place.metric or (place.slice_column and not rule.slices):
        return f"is no longer judged by the rule {alert.rule}"
    last = newest.get((place.pipeline, place.metric))
    return f"is no longer measured, as of {last}" if last is not None and last > alert.dates[-1] else ""


def _new_id(rule: str, reading: Reading, now: datetime) -> str:
    return str(
        uuid.uuid5(uuid.NAMESPACE_URL, f"raypipe:alert:{rule}:{reading.place!r}:{reading.date}:{now.isoformat()}")
    )
