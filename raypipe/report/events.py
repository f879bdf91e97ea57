"""List what changed, by date: champions, versions, sizes, drift, alerts, failures."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise

from raypipe.pages.figures import plural, share
from raypipe.registry.aliases import Period
from raypipe.report import nights
from raypipe.report.nights import Night
from raypipe.score import runs

# A night with this share more or fewer rows than the night before is a change.
CHANGED_ROWS = 0.2
FEWEST_ROWS = 20


@dataclass(frozen=True)
class Event:
    """A change on a day; `state` is good, watch, bad or plain."""

    day: date
    pipeline: str
    words: str
    state: str = "plain"


def of_nights(history: Sequence[Night], expected: Iterable[str], refitted: Collection[str] = ()) -> list[Event]:
    """Return failures, new versions in use, and nights with far more or fewer rows.

    Args:
        refitted: the pipelines that are fitted every night, so that a new version is no change.
    """
    events = []
    for night in history:
        for pipeline, run in night.runs.items():
            if run.status not in runs.FINISHED:
                events.append(Event(night.day, pipeline, nights.why(night, pipeline), nights.STATES[run.status][1]))
    for pipeline in sorted(set(expected)):
        published = [night.published[pipeline] for night in reversed(history) if pipeline in night.published]
        for before, after in pairwise(published):
            if after.model_version != before.model_version and pipeline not in refitted:
                events.append(Event(after.date, pipeline, f"now scored by version {after.model_version}"))
            change = after.rows_published - before.rows_published
            if abs(change) >= max(FEWEST_ROWS, CHANGED_ROWS * before.rows_published):
                words = f"{plural(after.rows_published, 'row')}, {share(abs(change), before.rows_published or None)}"
                more = "more" if change > 0 else "fewer"
                events.append(Event(after.date, pipeline, f"{words} {more} than on {before.date}", "watch"))
    return events


def of_champions(pipeline: str, periods: Sequence[Period]) -> list[Event]:
    """Return the changes of the champion."""
    events = []
    for period in periods:
        named = period.assignment
        if named.version:
            reason = f" ({named.reason})" if named.reason else ""
            words = f"version {named.version} became champion, by {named.set_by}{reason}"
            events.append(Event(named.set_at.date(), pipeline, words))
    return events


def newest_first(events: Iterable[Event]) -> list[Event]:
    """Sort events by day, the newest first, and by pipeline."""
    return sorted(events, key=lambda event: (-event.day.toordinal(), event.pipeline, event.words))
