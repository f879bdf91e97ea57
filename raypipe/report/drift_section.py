"""Show the drift of a model: its scores over nights, and a heat map of features and nights."""

from __future__ import annotations

from raypipe.pages import charts, grids, tables
from raypipe.pages.charts import Mark, Point, Series
from raypipe.pages.figures import plural
from raypipe.pages.grids import Cell
from raypipe.pages.markup import Child, Markup
from raypipe.pages.page import section
from raypipe.pages.tables import Cell as TableCell
from raypipe.pages.tables import Column
from raypipe.report.drift import ALERT, OK, WARNING, Drift, Measure
from raypipe.report.model import Model
from raypipe.report.names import words
from raypipe.report.nights_page import key

MOST = 24
KEY = (
    ("calm", "as before"),
    ("heat1", "a little"),
    ("heat3", "warning"),
    ("heat4", "alert"),
    ("none", "not compared"),
)


def show(drift: Drift, model: Model) -> Markup:
    """Return the section; it says so where no night was compared yet."""
    if not drift.scores and not drift.features:
        return section("Drift", "No night has been compared with an earlier night yet.", anchor="drift")
    limits = model.loaded.config.monitor
    points = [Point(day, measure.psi) for day, measure in drift.scores.items()]
    unknown = [measure.reason for _, measure in sorted(drift.scores.items()) if measure.psi is None]
    scores = charts.lines(
        "Drift of the scores (PSI)",
        [Series("PSI", points)],
        zero=True,
        marks=[Mark("warning", limits.psi_warning), Mark("alert", limits.psi_alert)],
        reason=unknown[-1] if unknown else "no night was compared",
        shown=lambda value: "–" if value is None else f"{value:.3g}",
    )
    parts: list[Child] = [scores, _heat(drift, limits.psi_warning), key(KEY), _not_compared(drift)]
    if drift.slices:
        rows = [(label, TableCell(f"{psi:.3f}", psi), status) for label, psi, status in drift.slices]
        parts.append(
            tables.table("Slices that moved in the newest night", ("slice", Column("PSI", True), "status"), rows)
        )
    about = "The population stability index (PSI) compares two nights over the same bins: 0 is no change."
    return section("Drift", *parts, anchor="drift", about=about)


def _heat(drift: Drift, warning: float) -> Markup:
    peaks = {
        name: max((measure.psi or 0.0 for measure in days.values()), default=0.0)
        for name, days in drift.features.items()
    }
    order = sorted(peaks, key=lambda name: (-peaks[name], name))[:MOST]
    rows = {
        words(name): {day: _cell(measure, warning) for day, measure in drift.features[name].items()} for name in order
    }
    moved = sum(1 for days in drift.features.values() if any(measure.status == ALERT for measure in days.values()))
    of = plural(len(rows), "feature")
    label = f"Drift of {of} over nights; {plural(moved, 'feature')} moved beyond the limit of an alert"
    more = f"The {MOST} features that moved most, of {len(peaks)}." if len(peaks) > MOST else ""
    return grids.grid("Features and nights", rows, label=label, reason="no feature was compared", note=more)


def _cell(measure: Measure, warning: float) -> Cell:
    if measure.psi is None or measure.status not in (OK, WARNING, ALERT):
        return Cell("none")
    if measure.status == OK:
        return Cell("heat1" if measure.psi >= warning / 2 else "calm")
    return Cell(
        "heat4" if measure.status == ALERT else "heat3", f"PSI {measure.psi:.3f}, {measure.status}: {measure.reason}"
    )


def _not_compared(drift: Drift) -> Markup | None:
    """Name the features that the newest night did not compare, with the reasons."""
    newest = max((day for days in drift.features.values() for day in days), default=None)
    if newest is None:
        return None
    rows = [
        (words(name), days[newest].reason)
        for name, days in sorted(drift.features.items())
        if newest in days and days[newest].reason and days[newest].status not in (OK, WARNING, ALERT)
    ]
    return tables.table("Not compared in the newest night", ("feature", "why"), rows) if rows else None
