"""Arrange the runs of the ledger by night: what was published, what is missing, and what to type."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import listed, plural
from raypipe.score import runs
from raypipe.score.runs import Run

# The words for a run's status, and the state by which a page colours it.
STATES = {
    runs.PUBLISHED: ("published", "good"),
    runs.SUPERSEDED: ("replaced", "good"),
    runs.REFUSED: ("refused", "watch"),
    runs.FAILED: ("failed", "bad"),
    runs.INTERRUPTED: ("interrupted", "bad"),
    runs.RUNNING: ("at work", "watch"),
    runs.STAGED: ("at work", "watch"),
    runs.PUBLISHING: ("at work", "watch"),
}
DAY = timedelta(days=1)


@dataclass(frozen=True)
class Night:
    """The runs of a date by pipeline: of each the committed run, or the latest attempt."""

    day: date
    runs: Mapping[str, Run]

    @property
    def published(self) -> dict[str, Run]:
        """Return the committed runs by pipeline."""
        return {name: run for name, run in self.runs.items() if run.status == runs.PUBLISHED}

    @property
    def rows(self) -> int:
        """Return the number of published rows."""
        return sum(run.rows_published for run in self.published.values())

    @property
    def seconds(self) -> float:
        """Return the seconds that the runs took, added up."""
        return sum(seconds(run) for run in self.runs.values())


def nights(history: Sequence[Run]) -> list[Night]:
    """Return the nights of a history of runs, newest first."""
    latest: dict[date, dict[str, Run]] = {}
    for run in sorted(history, key=lambda run: (run.status == runs.PUBLISHED, run.sequence, run.started_at)):
        # A committed run stays what readers see, whatever was tried after it.
        latest.setdefault(run.date, {})[run.pipeline] = run
    return [Night(day, found) for day, found in sorted(latest.items(), reverse=True)]


def seconds(run: Run) -> float:
    """Return the seconds from a run's start to its commit, or to its last sign of life."""
    end = run.published_at if run.status == runs.PUBLISHED else run.updated_at
    return max((end - run.started_at).total_seconds(), 0.0)


def stages(run: Run) -> dict[str, float]:
    """Return a run's seconds by stage; {} where they cannot be read."""
    try:
        document = json.loads(run.timings)
    except ValueError:
        return {}
    return {name: float(value) for name, value in document.items()} if isinstance(document, dict) else {}


def missing(night: Night, expected: Collection[str]) -> list[str]:
    """Return the pipelines that should have run and have no committed run."""
    return sorted(set(expected) - night.published.keys())


def expected(history: Sequence[Night], enabled: Collection[str]) -> set[str]:
    """Return the enabled pipelines that have ever published; a pipeline that never ran is not missed."""
    return {name for night in history for name in night.published} & set(enabled)


def remedy(night: Night, pipeline: str) -> str:
    """Return the command that finishes or repeats a pipeline's run."""
    run = night.runs.get(pipeline)
    if run is None or run.status == runs.REFUSED:
        return f"raypipe run {pipeline} --date {night.day}"
    return f"raypipe resume {run.run_id}"


def why(night: Night, pipeline: str) -> str:
    """Return in words why a pipeline published nothing."""
    run = night.runs.get(pipeline)
    if run is None:
        return "did not run"
    status = STATES.get(run.status, (run.status.lower(), "watch"))[0]
    first_line = run.error.strip().splitlines()[0] if run.error.strip() else ""
    return f"{status}: {first_line}" if first_line else status


def gap(history: Sequence[Night]) -> list[date]:
    """Return the days between the first and the last night on which nothing ran at all."""
    days = {night.day for night in history}
    if not days:
        return []
    first, last = min(days), max(days)
    return [day for at in range((last - first).days) if (day := first + at * DAY) not in days]


def regular(history: Sequence[Night]) -> bool:
    """Return whether raypipe runs every night, so that a day without a run is a gap."""
    days = sorted(night.day for night in history)
    return len(days) > 2 and (days[-1] - days[0]).days + 1 <= 1.2 * len(days)


def summary(night: Night, pipelines: Collection[str]) -> str:
    """Return the published pipelines and rows of a night in words."""
    names = [name for name in pipelines if name in night.published]
    return f"{listed(names, 9)} published {plural(night.rows, 'row')} for {day_text(night.day)}"
