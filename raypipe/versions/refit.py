"""Decide whether a night refits a champion, and why: by its age, by drift, or by its performance."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

from raypipe.clickhouse.client import Client
from raypipe.registry.record import Registered
from raypipe.registry.refits import Cause, PastFit, alerts, past_fits

# By the value of `model.refit`, the days from one fit to the next.
DAYS = {"nightly": 1, "weekly": 7, "monthly": 30}
# A shift of one night may be a fault of the data, which a refit would learn.
LASTING = 3
# The outcome of a refit shows only after some nights; until then the alerts are those of the version before.
PATIENCE_DAYS = 7


def due(client: Client, champion: Registered, policy: str, night: date) -> Cause | None:
    """Return the cause of the refit that is due on a night; None if none is.

    A refit is not due where a fit for this date, or for a later date, has made a version: a repeated night does not
    repeat it. A fit that failed is tried again.

    Args:
        policy: the value of `model.refit`.
        night: the night's snapshot.
    """
    if policy == "once":
        return None
    last = _last_fit(champion, past_fits(client, champion.pipeline))
    if policy in DAYS:
        return by_age(policy, last, night)
    if night < last + timedelta(days=PATIENCE_DAYS):
        return None
    kind = policy.removeprefix("on_")
    return by_alerts(policy, alerts(client, champion, kind, night, LASTING), night)


def _last_fit(champion: Registered, fits: Sequence[PastFit]) -> date:
    """Return the date of the newest data that any version was fitted on."""
    dates = [fit.date for fit in fits if fit.is_completed]
    # A version of an earlier release has no date but the day on which it was fitted.
    return max(dates, default=champion.created_at.date())


def by_age(policy: str, last: date, night: date) -> Cause | None:
    """Return the cause of a refit if the last fit is old enough."""
    age = (night - last).days
    if age < DAYS[policy]:
        return None
    return Cause(policy, night, f"{policy}: the last fit was for {last}, {age} day{'s' * (age != 1)} before")


def by_alerts(policy: str, found: Mapping[date, Sequence[str]], night: date) -> Cause | None:
    """Return the cause of a refit if the same alert was raised on each of the last dates.

    Args:
        found: the names above the alert limit on the champion's last LASTING dates, newest first.
    """
    lasting = set.intersection(*map(set, found.values())) if len(found) == LASTING else set()
    if not lasting:
        return None
    days = f"{min(found)} to {max(found)}"
    if policy == "on_performance":
        reason = f"predictions of each of the last {LASTING} validated dates ({days}) were worse than at the fit"
    else:
        names = ", ".join(sorted(name.removeprefix("drift:") for name in lasting))
        reason = f"drift on each of the last {LASTING} published dates ({days}): {names}"
    return Cause(policy, night, f"{policy}: {reason}")
