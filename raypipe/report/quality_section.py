"""Show how good a model is: metrics over dates, calibration, lift, and slices."""

from __future__ import annotations

from raypipe.pages import charts, grids, tables
from raypipe.pages.charts import Mark, Series
from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import decimal, percent, plural, three
from raypipe.pages.grids import Estimate
from raypipe.pages.markup import Child, Markup
from raypipe.pages.page import beside, multiples, section
from raypipe.pages.tables import Cell, Column
from raypipe.report import performance
from raypipe.report.answers import name as metric_name
from raypipe.report.model import Model, tested
from raypipe.report.performance import Performance

# The metrics to draw over dates, those of a kind of label that has them.
DRAWN = (
    "auc",
    "log_loss",
    "brier",
    "ece",
    "precision",
    "recall",
    "rmse",
    "mae",
    "r2",
    "ndcg",
    "coverage",
    "silhouette",
)
MOST_SLICES = 14
# With a new champion every night, their lines would fill the chart.
MOST_MARKS = 12


def show(model: Model, found: Performance) -> Markup:
    """Return the section of the metrics over dates, with calibration and lift."""
    drawn: list[Child] = []
    marks = [Mark(f"champion {span.assignment.version}", day=span.assignment.set_at.date()) for span in model.periods]
    if len(marks) > MOST_MARKS:
        marks = []
    for metric in (model.metric, *(name for name in DRAWN if name != model.metric)):
        lines = [
            Series("measured", found.measured.get(metric, []), "main"),
            Series("estimate", found.estimated.get(metric, []), "estimate"),
            Series("at the fit", model.fits(metric), "other"),
        ]
        known = [line for line in lines if any(point.value is not None for point in line.points)]
        if known:
            drawn.append(charts.lines(metric_name(metric), known, marks=marks, shown=three))
        elif metric == model.metric:
            reason = found.reasons[max(found.reasons)] if found.reasons else "no outcomes yet, and no evaluated fit"
            drawn.append(charts.empty(metric_name(metric), reason))
    drawn += _curves(model, found)
    about = (
        "Measured: by the outcomes of each date's predictions. Estimate: before outcomes are known. At the fit: on"
        " held-out rows of each version. Bands and whiskers are 95 % intervals; vertical lines are new champions."
    )
    return section("Quality", multiples(*drawn), anchor="quality", about=about)


def _curves(model: Model, found: Performance) -> list[Markup]:
    bins, of = found.reliability, found.reliability_of
    if not bins:
        rows = tested(model.champion or next(iter(model.versions), None)).get("reliability") or []
        bins = tuple((row["predicted"], row["observed"], row["rows"]) for row in rows)
        of = None
    if not bins:
        return []
    source = f"predictions of {day_text(of)}" if of else "test rows of the fit"
    calibration = charts.curve(
        f"Calibration, {source}",
        [(predicted, observed) for predicted, observed, _ in bins],
        across="mean score",
        along="observed",
        reason="no scores",
        shown=three,
        note="On the dashed line, the scores are right as probabilities.",
    )
    lift = charts.curve(
        f"Lift, {source}",
        performance.lift(bins),
        across="share of rows",
        along="share of positives",
        reason="there is no positive outcome, so nothing can be lifted",
        shown=percent,
        note="How many positives the highest scores reach; the dashed line is chance.",
    )
    return [calibration, lift]


def slices(model: Model, found: Performance) -> Markup | None:
    """Return the section of the slices, the worst first; None without any."""
    ordered = performance.worst_first(model.metric, found.slices.get(model.metric, ()))
    if not ordered:
        return None
    overall = found.newest(model.metric)
    shown = ordered[:MOST_SLICES]
    estimates = [Estimate(item.label, item.value, item.low, item.high, plural(item.rows, "row")) for item in shown]
    forest = grids.intervals(
        f"{metric_name(model.metric)} by slice, the worst first",
        estimates,
        reason="no slice",
        reference=overall.value if overall else None,
        shown=three,
        note="The dashed line is the value of all rows.",
    )
    rows = [
        (
            item.label,
            Cell(decimal(item.value), item.value),
            f"{decimal(item.low)} to {decimal(item.high)}",
            Cell(f"{item.rows:,}", item.rows),
        )
        for item in ordered
    ]
    columns = ("slice", Column(metric_name(model.metric), True), Column("95 %", True), Column("rows", True))
    listed = tables.table(f"Slices of the predictions of {day_text(found.slices_of)}", columns, rows)
    return section("Slices", beside(forest, listed), anchor="slices")
