"""Format numbers, sizes and shares for readers."""

from __future__ import annotations

UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def number(value: float | None) -> str:
    """Format a number; – for None."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def size(value: int | None) -> str:
    """Format bytes in the unit with the fewest digits."""
    if value is None:
        return "–"
    amount = float(value)
    unit = 0
    while amount >= 1024 and unit < len(UNITS) - 1:
        amount /= 1024
        unit += 1
    return f"{amount:.1f} {UNITS[unit]}" if unit else f"{amount:.0f} B"


def share(part: float | None, whole: float | None = 1.0) -> str:
    """Format a share as a percentage, never rounded to 0 or 100 % unless it is exactly that."""
    if part is None or not whole:
        return "–"
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"
