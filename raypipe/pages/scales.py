"""Map values to pixels, and choose the values to label."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
MONTH_STEPS = (1, 2, 3, 6, 12)


@dataclass(frozen=True)
class Linear:
    """A scale from numbers to pixels; a single number lies in the middle."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the place of a value."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, most: int = 4) -> list[float]:
        """Return round numbers in the range."""
        width = self.high - self.low
        if width <= 0:
            return [self.low]
        rough = width / max(most, 1)
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * factor for factor in STEPS if unit * factor >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(number * step, 12) for number in range(first, last + 1)]


def around(values: Sequence[float], start: float, end: float, *, zero: bool = False) -> Linear:
    """Return a scale that leaves a twentieth free on both sides; `zero` begins the range at 0 instead."""
    known = [value for value in values if math.isfinite(value)] or [0.0, 1.0]
    low, high = min(known), max(known)
    if zero:
        return Linear(min(0.0, low), high if high > min(0.0, low) else 1.0, start, end)
    margin = (high - low) / 20 or abs(high) / 20 or 1.0
    return Linear(low - margin, high + margin, start, end)


@dataclass(frozen=True)
class Days:
    """A scale from dates to pixels."""

    first: date
    last: date
    start: float
    end: float

    def __call__(self, day: date) -> float:
        """Return the place of a day."""
        return self._linear(day.toordinal())

    @property
    def _linear(self) -> Linear:
        return Linear(self.first.toordinal(), self.last.toordinal(), self.start, self.end)

    def ticks(self, most: int = 4) -> list[tuple[date, str]]:
        """Return days to label, with their labels: months of a long range, days of a short range."""
        span = (self.last - self.first).days
        if span <= 62:
            step = max(1, -(-span // max(most, 1)))
            # Counted from the newest day, which matters most.
            days = [self.last - timedelta(days=number * step) for number in range(span // step + 1)]
            return [(day, f"{day.day} {day:%b}") for day in reversed(days)]
        months = self._months()
        step = next((step for step in MONTH_STEPS if len(months) / step <= most), MONTH_STEPS[-1])
        chosen = [day for day in months if (day.month - 1) % step == 0]
        return [(day, f"{day:%Y}" if day.month == 1 else f"{day:%b}") for day in chosen]

    def _months(self) -> list[date]:
        """Return the firsts of the months in the range."""
        count = (self.last.year - self.first.year) * 12 + self.last.month - self.first.month
        months = [self.first.month - 1 + number for number in range(count + 1)]
        firsts = [date(self.first.year + month // 12, month % 12 + 1, 1) for month in months]
        return [day for day in firsts if day >= self.first]
