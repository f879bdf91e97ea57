"""Read days from arguments, and tell when a day ends in a time zone."""

from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from raypipe.errors import UsageError


def as_day(name: str, value: date | str) -> date:
    """Return the day of an argument, a date or its ISO text.

    Raises:
        UsageError: the text is not a date, or the value is a moment, whose day depends on the caller's zone.
    """
    day: object = value
    if isinstance(value, str):
        with suppress(ValueError):
            day = date.fromisoformat(value)
    if isinstance(day, datetime) or not isinstance(day, date):
        raise UsageError(f"{name} is not a date", found=repr(value), allowed="a date, or text such as 2026-01-31")
    return day


def end_of_day(day: date, timezone: str) -> datetime:
    """Return the moment at which a day ends in a zone, an IANA name."""
    return datetime.combine(day + timedelta(days=1), time(), _zone(timezone))


def today(timezone: str) -> date:
    """Return the current day in a zone, an IANA name."""
    return datetime.now(_zone(timezone)).date()


def last_ended_day(moment: datetime, timezone: str) -> date:
    """Return the last day that has ended at an aware moment in a zone, an IANA name."""
    return moment.astimezone(_zone(timezone)).date() - timedelta(days=1)


def require_ended(day: date, moment: datetime, timezone: str, what: str) -> None:
    """Refuse a day that has not ended.

    Args:
        moment: the present, with its zone.
        what: the reason for whole days, as the beginning of a sentence.

    Raises:
        UsageError: the day has not ended.
    """
    last = last_ended_day(moment, timezone)
    if day > last:
        raise UsageError(
            f"{what}, and {day} has not ended",
            found=f"{day}, at {moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
            allowed=f"up to {last}, in {timezone}",
            next_step="leave --date out for the newest day that has ended",
        )


def _zone(timezone: str) -> tzinfo:
    # UTC works without a time zone database, which a small image may lack.
    return UTC if timezone == "UTC" else ZoneInfo(timezone)
