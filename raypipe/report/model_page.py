"""Write the page of a pipeline: answers, quality, slices, scores, drift and rows."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor, log10

from raypipe.pages import charts, grids, tables
from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import decimal, plural, share, three
from raypipe.pages.grids import Span, bar
from raypipe.pages.markup import Child, Markup, element
from raypipe.pages.page import answers, beside, folded, section
from raypipe.pages.tables import Cell, Column
from raypipe.report import answers as answering
from raypipe.report import drift_section, nights_page, quality_section, recommendations, rows_section, segments
from raypipe.report.answers import name as metric_name
from raypipe.report.facts import Facts
from raypipe.report.model import Model, tested
from raypipe.report.names import words

MOST_VERSIONS, SHOWN_CHAMPIONS = 12, 6


def content(facts: Facts, model: Model) -> list[Child]:
    """Return the content of the page."""
    found = facts.performance_of(model.pipeline)
    events = facts.events_of(model.pipeline)
    questions = [
        answering.still_good(model, facts),
        answering.worst(model, facts),
        answering.changed(events, subject=model.pipeline),
        answering.what_to_do(answering.actions(facts, model.pipeline)),
    ]
    parts: list[Child] = [
        answers(questions),
        _champion(model, facts),
        quality_section.show(model, found),
        quality_section.slices(model, found),
    ]
    if segments.TARGET in model.targets:
        parts.append(segments.show(facts.source))
    if recommendations.TARGET in model.targets and model.latest is not None:
        parts.append(recommendations.show(facts.source, model.latest, model.loaded.config.timezone, model.champion))
    parts += [
        _scores(model, facts),
        drift_section.show(facts.drift_of(model.pipeline), model),
        rows_section.explained(model, facts),
        rows_section.published(model, facts),
        nights_page.changes(events, single=True),
        _versions(model),
    ]
    return parts


def _champion(model: Model, facts: Facts) -> Markup:
    today = facts.source.last
    spans = []
    for period in model.periods:
        named = period.assignment
        if named.version:
            end = period.until.date() if period.until else max(today, named.set_at.date())
            title = f"{named.version}, by {named.set_by}: {named.reason}"
            spans.append(Span(named.version, named.set_at.date(), end, title, "other" if period.until else "main"))
    pairs: list[tuple[str, Child]] = [("in use", model.champion.version if model.champion else "no champion")]
    if model.champion is not None:
        pairs.append(("fitted", day_text(model.champion.created_at.date())))
        measured = tested(model.champion).get(model.metric) or {}
        value = measured.get("value")
        if isinstance(value, float):
            pairs.append((f"{metric_name(model.metric)} at the fit", decimal(value)))
    if model.challenger is not None:
        pairs.append(("challenger", model.challenger.version))
    pairs.append(("versions", f"{len(model.versions):,}"))
    more = f"The newest {SHOWN_CHAMPIONS} of {len(spans)}." if len(spans) > SHOWN_CHAMPIONS else ""
    shown = spans[:SHOWN_CHAMPIONS]
    drawn = grids.spans("Champions over time", shown, reason="no version was champion yet", note=more)
    return section("Champion", tables.facts(pairs), drawn, anchor="champion")


def _scores(model: Model, facts: Facts) -> Markup:
    if model.latest is None:
        return section("Scores", "Nothing is published yet.", anchor="scores")
    spread = model.scores
    parts: list[Child] = []
    if spread is None:
        parts.append(charts.empty("Distribution of the scores", "the newest run has no rows in ml_model_predictions"))
    elif not spread.counts:
        reason = f"none of the {spread.predictions:,} scores is a number"
        parts.append(charts.empty("Distribution of the scores", reason))
    else:
        parts.append(_histogram(spread.low, spread.high, spread.counts, spread.mean))
        if spread.unusable:
            parts.append(element("p", f"{spread.unusable:,} scores are no numbers.", class_="note"))
    if model.importance:
        largest = max(value for _, value, _ in model.importance)
        rows = [
            (
                [words(feature), element("span", f" {about}", class_="quiet hint") if about else None],
                bar(value, largest),
                Cell(decimal(value), value),
            )
            for feature, value, about in model.importance
        ]
        columns = ("feature", "", Column("importance", True))
        parts.append(tables.table("Importance of the champion's features", columns, rows))
    return section(f"Scores of {day_text(model.latest.date)}", beside(*parts), _levels(model, facts), anchor="scores")


def _histogram(low: float, high: float, counts: Sequence[int], mean: float) -> Markup:
    step = (high - low) / len(counts)
    bars = [
        (f"{three(low + at * step)} to {three(low + (at + 1) * step)}", float(count)) for at, count in enumerate(counts)
    ]
    if low == high:
        bars = [(three(low), float(counts[0]))]
    note = f"{plural(sum(counts), 'score')}, {three(mean)} on average."
    # A smallest score of 1e-8 is a zero beside a largest of 1.
    digits = 2 - floor(log10(high - low)) if high > low else 3
    ends = (three(round(low, digits)), three(round(high, digits)))
    return charts.columns("Distribution of the scores", bars, ends=ends, note=note)


def _levels(model: Model, facts: Facts) -> Markup | None:
    named = sorted({level for _, level, _, _ in model.levels})
    if not model.loaded.config.levels or not named:
        return None
    order = [level.name for level in model.loaded.config.levels]
    brands = sorted({brand for brand, *_ in model.levels}, key=lambda brand: facts.names.of("brand_id", brand))
    counts = {(brand, level): rows for brand, level, rows, _ in model.levels}
    totals = {brand: sum(counts.get((brand, level), 0) for level in order) for brand in brands}
    rows: list[tuple[Cell | Child, ...]] = [
        (
            facts.names.of("brand_id", brand),
            Cell(f"{totals[brand]:,}", totals[brand]),
            *(
                Cell(share(counts.get((brand, level), 0), totals[brand] or None), counts.get((brand, level), 0))
                for level in order
            ),
        )
        for brand in brands
    ]
    columns = [Column("brand"), Column("rows", True), *(Column(level, True) for level in order)]
    return tables.table("Levels by brand", columns, rows)


def _versions(model: Model) -> Markup:
    rows = []
    for version in model.versions[:MOST_VERSIONS]:
        measured = tested(version).get(model.metric) or {}
        decision = version.evaluation.get("decision", {})
        rows.append(
            (
                version.version,
                version.status.lower(),
                Cell(day_text(version.created_at.date()), version.created_at.isoformat()),
                Cell(decimal(measured.get("value")), measured.get("value")),
                decision.get("reason", "") if isinstance(decision, dict) else "",
            )
        )
    columns = ("version", "status", "registered", Column(metric_name(model.metric), True), "decision")
    listed = tables.table("The newest versions", columns, rows, empty="No version is fitted yet.", hidden=True)
    return section("Versions", folded(plural(len(model.versions), "version"), listed), anchor="versions")
