"""A day as an argument, a date or its ISO text, where it ends, and which is over."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from raypipe.errors import UsageError


def as_day(name: str, value: date | str) -> date:
    """The day that an argument names.

    Raises:
        UsageError: text that is no date, or a moment: its day depends on a zone, which the caller chooses.
    """
    try:
        day = date.fromisoformat(value) if isinstance(value, str) else value
    except ValueError as error:
        raise _not_a_day(name, value) from error
    if isinstance(day, datetime) or not isinstance(day, date):
        raise _not_a_day(name, value)
    return day


def end_of_day(day: date, timezone: str) -> datetime:
    """The moment at which a day ends in a zone, an IANA name."""
    return datetime.combine(day + timedelta(days=1), time(), _zone(timezone))


def last_day_over(moment: datetime, timezone: str) -> date:
    """The last day that has ended at an aware moment, in a zone, an IANA name."""
    return moment.astimezone(_zone(timezone)).date() - timedelta(days=1)


def today(timezone: str) -> date:
    """Return the current day in a zone, an IANA name."""
    return datetime.now(_zone(timezone)).date()


def require_over(day: date, moment: datetime, timezone: str, what: str) -> None:
    """Refuses a day that has not ended at an aware moment, in a zone.

    Args:
        day: the day.
        moment: when it is asked for.
        timezone: an IANA name.
        what: what needs whole days, and how, as the beginning of a sentence.

    Raises:
        UsageError: it has not.
    """
    last = last_day_over(moment, timezone)
    if day > last:
        raise UsageError(
            f"{what}, and this one is not over",
            found=f"{day}, at {moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            allowed=f"up to {last}, in {timezone}",
            next_step="leave --date out for the newest day that is over",
        )


def _zone(timezone: str) -> tzinfo:
    # UTC needs no time zone database, which a small image may lack.
    return UTC if timezone == "UTC" else ZoneInfo(timezone)


def _not_a_day(name: str, value: object) -> UsageError:
    return UsageError(f"{name} is not a date", found=repr(value), allowed="a date, or text such as 2026-01-31")
