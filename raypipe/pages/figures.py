"""Format numbers, sizes, shares, times and intervals for readers. A value that is missing or not finite is a dash."""

import math
from datetime import date, datetime

UNKNOWN = "–"
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
SHORT = ((1e9, "G"), (1e6, "M"), (1e4, "k"))
MINUTE, HOUR = 60, 3600


def number(value: float | None) -> str:
    """Format a number."""
    if not _known(value):
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def short(value: float | None) -> str:
    """Format a number for an axis or a tile, as `1.2 M`."""
    if value is None or not _known(value):
        return UNKNOWN
    for unit, name in SHORT:
        if abs(value) >= unit:
            scaled = value / (1e3 if name == "k" else unit)
            return f"{scaled:.3g} {name}" if abs(scaled) < 1000 else f"{scaled:,.0f} {name}"
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.3g}"


def size(value: int | None) -> str:
    """Format bytes in the unit with the fewest digits."""
    if value is None:
        return UNKNOWN
    amount = float(value)
    unit = 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount /= 1024
        unit += 1
    return f"{amount:.1f} {UNITS[unit]}" if unit else f"{amount:.0f} B"


def share(part: float | None, whole: float | None = 1.0) -> str:
    """Format a share as a percentage, never rounded to 0 or 100 % unless it is exactly that."""
    if part is None or not whole or not _known(part):
        return UNKNOWN
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def percent(part: float | None) -> str:
    """Format a share for an axis, as `50 %`."""
    return f"{100 * part:.3g} %" if part is not None and _known(part) else UNKNOWN


def decimal(value: float | None, digits: int = 3) -> str:
    """Format a metric with a fixed number of decimals."""
    return f"{value:.{digits}f}" if value is not None and _known(value) else UNKNOWN


def three(value: float | None) -> str:
    """Format a number with three significant digits."""
    return short(value) if value is None or not _known(value) or abs(value) >= 1000 else f"{value:.3g}"


def signed(value: float | None, digits: int = 3) -> str:
    """Format a difference with its sign."""
    return f"{value:+.{digits}f}".replace("-", "−") if value is not None and _known(value) else UNKNOWN


def interval(value: float | None, low: float | None, high: float | None, digits: int = 3) -> str:
    """Format a value with its interval, as `0.812 (0.801 to 0.823)`."""
    if low is None or high is None or not (_known(low) and _known(high)):
        return decimal(value, digits)
    return f"{decimal(value, digits)} ({decimal(low, digits)} to {decimal(high, digits)})"


def duration(seconds: float | None) -> str:
    """Format a duration with at most two units."""
    if seconds is None or not _known(seconds):
        return UNKNOWN
    if seconds < 10 and seconds != round(seconds):
        return f"{seconds:.1f} s"
    if seconds < MINUTE:
        return f"{seconds:.0f} s"
    if seconds < HOUR:
        return f"{int(seconds // MINUTE)} min {int(seconds % MINUTE)} s"
    return f"{int(seconds // HOUR):,} h {int(seconds % HOUR // MINUTE)} min"


def day(value: date | None) -> str:
    """Format a date, as `14 Nov 2026`."""
    return f"{value.day} {value:%b %Y}" if value else UNKNOWN


def moment(value: datetime | None) -> str:
    """Format a moment in UTC."""
    return f"{value:%Y-%m-%d %H:%M} UTC" if value else UNKNOWN


def plural(count: int, noun: str, many: str = "") -> str:
    """Format a count with its noun, as `1 row` and `2 rows`."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(names: list[str] | tuple[str, ...], most: int = 3) -> str:
    """Join names as `a, b and 2 more`."""
    shown = list(names[:most])
    rest = len(names) - len(shown)
    if rest:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join(filter(None, (", ".join(shown[:-1]), *shown[-1:])))


def _known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
