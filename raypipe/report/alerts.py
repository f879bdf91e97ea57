"""Read the alerts of nights, and the expectations that their inputs did not meet."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from raypipe.report.events import Event
from raypipe.report.names import Names, words
from raypipe.report.source import Source

ALERTS, CHECKS = "raypipe_alerts", "raypipe_checks"
OPEN = "open"


@dataclass(frozen=True)
class Alert:
    """An episode of an alert, with its subject in words."""

    pipeline: str
    words: str
    severity: str
    status: str
    days: tuple[date, ...]
    opened_at: datetime
    resolved_at: datetime

    @property
    def is_open(self) -> bool:
        """Return whether the alert has not ended."""
        return self.status == OPEN


@dataclass(frozen=True)
class Check:
    """An expectation of a run's input that was not met."""

    pipeline: str
    day: date
    words: str
    is_refused: bool


def read_alerts(source: Source, names: Names) -> list[Alert]:
    """Return the alerts of the report's dates, the newest first."""
    return [
        Alert(
            row["pipeline"],
            _named(row["message"], row["slice_column"], row["slice_value"], names),
            row["severity"],
            row["status"],
            tuple(row["dates"]),
            row["opened_at"],
            row["resolved_at"],
        )
        for row in source.rows("alerts", ALERTS, first=source.first)
    ]


def read_checks(source: Source) -> list[Check]:
    """Return the expectations that were not met, the newest first."""
    return [
        Check(row["pipeline"], row["date"], _check(row), row["status"] == "refused")
        for row in source.rows("checks", CHECKS, first=source.first)
    ]


def events(alerts: list[Alert], checks: list[Check]) -> list[Event]:
    """Return the days on which alerts began and ended, and inputs were not as expected."""
    found = [Event(alert.days[0], alert.pipeline, f"alert: {alert.words}", "watch") for alert in alerts if alert.days]
    for alert in alerts:
        if not alert.is_open and alert.days:
            found.append(Event(alert.resolved_at.date(), alert.pipeline, f"the alert ended: {alert.words}", "good"))
    return found + [Event(check.day, check.pipeline, check.words, "watch") for check in checks]


def _named(message: str, column: str, value: str, names: Names) -> str:
    """Put the name of a slice in the place of its id."""
    return message.replace(f" where {column} is {value} ", f" where {column} is {names.of(column, value)} ")


def _check(row: Any) -> str:
    subject = f" of {words(row['column'])}" if row["column"] else ""
    return row["reason"] or f"{words(row['check'])}{subject}: {row['found']}, expected {row['allowed']}"
