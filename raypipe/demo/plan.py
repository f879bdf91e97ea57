"""Plan a demo: its readers, days and snapshots, and the values that its statements bind."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from raypipe.errors import UsageError

# The fewest days of a demo, and of history that a snapshot needs; and the days of the longest window of features.
ACTIVE_DAYS, WINDOW_DAYS = 30, 84
# From the first training snapshot to the last day, with horizons of 30 days.
FITTED_DAYS = 91
EVENT_READERS = 200_000
NO_DATE = date(1970, 1, 1)


@dataclass(frozen=True)
class DemoPlan:
    """The size and the days of a demo; values that cannot be built are refused."""

    users: int
    days: int
    seed: int
    last_date: date
    drift_on: date | None
    snapshot_every: int
    written_at: datetime

    def __post_init__(self) -> None:
        for name, least in (("users", 1), ("days", ACTIVE_DAYS), ("seed", 0), ("snapshot_every", 1)):
            if (value := getattr(self, name)) < least:
                next_step = f"give a larger --{name.replace('_', '-')}"
                raise UsageError(
                    f"The demo's {name} is too small", found=value, allowed=f"{least} or more", next_step=next_step
                )
        if self.drift_on is not None and not self.first_date <= self.drift_on <= self.last_date:
            days = f"{self.first_date} to {self.last_date}"
            raise UsageError(
                "The drift begins outside the days of the demo",
                found=self.drift_on,
                allowed=days,
                next_step="choose one of these days with --drift-on, or other days with --days and --last-date",
            )

    @property
    def first_date(self) -> date:
        """Return the first day with sessions."""
        return self.last_date - timedelta(days=self.days - 1)

    @property
    def snapshots(self) -> tuple[date, ...]:
        """Return the snapshots, oldest first; each has whole windows of activity before it, as far as a fit allows."""
        history = min(WINDOW_DAYS, max(ACTIVE_DAYS, self.days - FITTED_DAYS))
        earliest = self.first_date + timedelta(days=history - 1)
        count = (self.last_date - earliest).days // self.snapshot_every + 1
        return tuple(self.last_date - timedelta(days=n * self.snapshot_every) for n in reversed(range(count)))

    @property
    def months(self) -> tuple[tuple[date, date], ...]:
        """Return the days by calendar month, so that an insert of sessions stays in one monthly partition."""
        return tuple(_months(self.first_date, self.last_date))

    @property
    def built_at(self) -> datetime:
        """Return the moment at which features are built: the last day has ended by then."""
        return max(self.written_at, datetime.combine(self.last_date, time()) + timedelta(days=1)).replace(tzinfo=UTC)

    @property
    def parameters(self) -> Mapping[str, Any]:
        """Return the values that the statements may bind."""
        return {
            "seed": self.seed,
            "users": self.users,
            "first_date": self.first_date,
            "last_date": self.last_date,
            "drift_on": self.drift_on or NO_DATE,
            "written_at": self.written_at,
            "batch": f"demo_{self.seed}",
            "share_ppm": min(1_000_000, 1_000_000 * EVENT_READERS // self.users),
        }


def _months(first: date, last: date) -> Iterator[tuple[date, date]]:
    while first <= last:
        next_month = (first.replace(day=1) + timedelta(days=32)).replace(day=1)
        until = min(last, next_month - timedelta(days=1))
        yield first, until
        first = until + timedelta(days=1)
