"""Read dates from the command line."""

from datetime import date

from raypipe.errors import UsageError

LATEST = "latest"
# The range of ClickHouse's Date.
FIRST_DATE, LAST_DATE = date(1970, 1, 1), date(2149, 6, 6)


def parse_date(text: str, option: str = "--date") -> date | None:
    """Read a date from the command line; None means the newest.

    Raises:
        UsageError: the text is neither YYYY-MM-DD nor `latest`, or ClickHouse has no such date.
    """
    return None if text == LATEST else parse_day(text, option, f", or {LATEST}")


def parse_day(text: str, option: str, others: str = "") -> date:
    """Read a date from the command line where `latest` would mean nothing.

    Raises:
        UsageError: the text is not YYYY-MM-DD, or ClickHouse has no such date.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    # Python also reads 20260131 and 2026-W05-6.
    if day is None or day.isoformat() != text or not FIRST_DATE <= day <= LAST_DATE:
        raise UsageError(
            f"{option} is not a date",
            found=text,
            allowed=f"YYYY-MM-DD from {FIRST_DATE} to {LAST_DATE}{others}",
            next_step=f"write it as {date(2026, 1, 31)}, or leave {option} out",
        )
    return day
