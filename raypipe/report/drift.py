"""Read the drift of each pipeline's nights: of its scores, of its features, and of its slices."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from raypipe.monitor.moves import MOVED
from raypipe.pages.figures import plural
from raypipe.report.events import Event
from raypipe.report.names import Names, slice_label, words
from raypipe.report.source import Row, Source

SCORE = "score"
ALERT, WARNING, OK = "alert", "warning", "ok"
VIEW = "raypipe_drift"
# A heat map of more nights is no longer read at a glance.
NIGHTS = 92


@dataclass(frozen=True)
class Measure:
    """The drift of a column on a night; without `psi` the reason says why it was not compared."""

    psi: float | None
    status: str
    reason: str = ""


@dataclass(frozen=True)
class Drift:
    """The drift of a pipeline.

    Attributes:
        scores: by date.
        features: by the name of the matrix column, then by date; the newest nights alone.
        slices: slices of the newest night that moved beyond a limit, in words, the worst first.
    """

    scores: Mapping[date, Measure] = field(default_factory=dict)
    features: Mapping[str, Mapping[date, Measure]] = field(default_factory=dict)
    slices: tuple[tuple[str, float, str], ...] = ()

    def moved(self, day: date, status: str = ALERT) -> list[str]:
        """Return the features with a status on a day, the most moved first."""
        found = [(name, days[day]) for name, days in self.features.items() if day in days]
        moved = [(measure.psi or 0.0, name) for name, measure in found if measure.status == status]
        return [name for _, name in sorted(moved, key=lambda item: (-item[0], item[1]))]


def read(source: Source, names: Names, references: Mapping[str, str]) -> dict[str, Drift]:
    """Return the drift of each pipeline against its reference: night, weekday or fit."""
    of: dict[str, Any] = {"pipelines": list(references), "references": list(references.values())}
    features_from = source.last - timedelta(days=NIGHTS - 1)
    scores: dict[str, dict[date, Measure]] = {}
    features: dict[str, dict[str, dict[date, Measure]]] = {}
    rows = source.rows("drift", VIEW, first=source.first, features_from=features_from, **of)
    for row in rows:
        measure = Measure(row["psi"], row["status"], row["reason"])
        if row["column"] == SCORE:
            scores.setdefault(row["pipeline"], {})[row["date"]] = measure
        else:
            features.setdefault(row["pipeline"], {}).setdefault(row["column"], {})[row["date"]] = measure
    slices: dict[str, list[Row]] = {}
    for row in source.rows("drift_slices", VIEW, first=source.last, **of):
        slices.setdefault(row["pipeline"], []).append(row)
    return {
        name: Drift(scores.get(name, {}), features.get(name, {}), tuple(_slices(slices.get(name, []), names)))
        for name in scores.keys() | features.keys() | slices.keys()
    }


def _how(measure: Measure) -> str:
    """Return the reason of an alert; a mean can move while the index shows nothing."""
    return measure.reason if MOVED in measure.reason else f"PSI {measure.psi or 0:.2f}"


def _slices(rows: list[Row], names: Names) -> list[tuple[str, float, str]]:
    found = [
        (
            f"{words(row['column'])}, {slice_label(row['slice_column'], row['slice_value'], names)}",
            float(row["psi"] or 0.0),
            str(row["status"]),
        )
        for row in rows
    ]
    return sorted(found, key=lambda item: -item[1])[:20]


def events(pipeline: str, drift: Drift) -> list[Event]:
    """Return the nights on which the scores or features moved beyond the alert's limit."""
    found = []
    for day, measure in drift.scores.items():
        if measure.status == ALERT:
            found.append(Event(day, pipeline, f"the scores moved ({_how(measure)})", "watch"))
    days = {day for measures in drift.features.values() for day in measures}
    for day in days:
        moved = drift.moved(day)
        if moved:
            shown = ", ".join(f"{words(name)} ({_how(drift.features[name][day])})" for name in moved[:3])
            more = f" and {plural(len(moved) - 3, 'more feature')}" if len(moved) > 3 else ""
            found.append(Event(day, pipeline, f"{shown}{more} moved", "watch"))
    return found
