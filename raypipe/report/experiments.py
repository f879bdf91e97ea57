"""Show experiments: who won, and the intervals of each metric over the days of looking."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from raypipe.experiment.result import AUTHOR, REFUSED
from raypipe.pages import charts, grids, tables
from raypipe.pages.charts import Mark, Point, Series
from raypipe.pages.figures import day as day_text
from raypipe.pages.figures import plural, short
from raypipe.pages.grids import Estimate
from raypipe.pages.markup import Markup
from raypipe.pages.page import Answer, answers, multiples, section
from raypipe.pages.tables import Cell, Column
from raypipe.registry.ab_tests import DECIDED
from raypipe.report.events import Event
from raypipe.report.names import words
from raypipe.report.source import Row, Source


@dataclass(frozen=True)
class Look:
    """A metric of an arm on a day of looking; the differences are relative to the control, None without units."""

    day: date
    metric: str
    arm: str
    control: str
    difference: Point
    is_relative: bool
    arm_value: float | None
    control_value: float | None
    units: tuple[int, int]
    verdict: str
    is_share: bool = False


@dataclass(frozen=True)
class Experiment:
    """An experiment with all its looks, oldest first."""

    name: str
    status: str
    since: date
    until: date
    winner: str
    decision: str
    warnings: tuple[str, ...]
    looks: tuple[Look, ...] = field(default_factory=tuple)

    @property
    def series(self) -> dict[tuple[str, str], list[Look]]:
        """Return the looks by metric and arm."""
        found: dict[tuple[str, str], list[Look]] = {}
        for look in self.looks:
            found.setdefault((look.metric, look.arm), []).append(look)
        return found


def read(source: Source) -> list[Experiment]:
    """Return the experiments, the latest look first."""
    rows: dict[str, list[Row]] = {}
    for row in source.rows("experiments", "ml_model_ab_tests", first=source.first, author=AUTHOR):
        rows.setdefault(row["test_code"], []).append(row)
    experiments = [_experiment(name, found) for name, found in rows.items()]
    return sorted(experiments, key=lambda item: (-item.until.toordinal(), item.name))


def _experiment(name: str, rows: list[Row]) -> Experiment:
    last = [row for row in rows if row["test_end_date"] == rows[-1]["test_end_date"]]
    notes = _notes(last[0])
    looks = tuple(look for row in rows for look in _look(row))
    winner = next((row["winning_model_id"] for row in last if row["winning_model_id"]), "")
    return Experiment(
        name,
        last[0]["test_status"],
        min(row["test_start_date"] for row in rows),
        last[0]["test_end_date"],
        winner,
        str(notes.get("decision", "")),
        tuple(str(warning) for warning in notes.get("warnings", ())),
        looks,
    )


def _notes(row: Row) -> Mapping[str, Any]:
    try:
        notes = json.loads(row["metadata"])
    except ValueError:
        return {}
    return notes if isinstance(notes, Mapping) else {}


def _look(row: Row) -> list[Look]:
    notes = _notes(row)
    if "difference" not in notes or "metric" not in notes:
        return []
    relative, absolute = notes.get("relative") or {}, notes["difference"] or {}
    is_relative = relative.get("value") is not None
    shown = relative if is_relative else absolute
    known = row["model_a_predictions"] > 0 and row["model_b_predictions"] > 0
    values = (shown.get("value"), shown.get("low"), shown.get("high")) if known else (None, None, None)
    return [
        Look(
            row["test_end_date"],
            str(notes["metric"]),
            row["model_b_id"],
            row["model_a_id"],
            Point(row["test_end_date"], *values),
            is_relative,
            row["model_b_metric"] if known else None,
            row["model_a_metric"] if known else None,
            (row["model_a_predictions"], row["model_b_predictions"]),
            str(notes.get("verdict", "")),
            notes.get("kind") == "proportion",
        )
    ]


def answer(experiment: Experiment) -> Answer:
    """Answer whether an arm of the experiment won."""
    question = f"Who won {words(experiment.name)}?"
    about = f" Looked at until {day_text(experiment.until)}."
    empty = sorted(
        {look.arm if not look.units[1] else look.control for look in experiment.looks if not all(look.units)}
    )
    if experiment.status == REFUSED:
        return Answer(question, "bad", "The numbers cannot be trusted.", experiment.decision + about)
    if empty and experiment.looks[-1].arm_value is None:
        words_ = f"The arm {', '.join(empty)} has no units, so there is nothing to compare."
        return Answer(question, "open", "Not known.", words_ + about)
    if experiment.winner:
        return Answer(question, "good", f"{experiment.winner} won.", experiment.decision + about)
    if experiment.status == DECIDED:
        return Answer(question, "watch", "Nobody.", experiment.decision + about)
    return Answer(question, "open", "Not decided yet.", experiment.decision + about)


def events(experiments: list[Experiment]) -> list[Event]:
    """Return the days on which experiments were decided."""
    return [
        Event(item.until, item.name, f"experiment decided: {item.winner or 'no arm'} won", "good")
        for item in experiments
        if item.status == DECIDED
    ]


def show(experiment: Experiment) -> Markup:
    """Return the section of an experiment."""
    drawn = [_over_days(looks) for looks in experiment.series.values()]
    last = {key: looks[-1] for key, looks in experiment.series.items()}
    forest = grids.intervals(
        "All metrics at the last look, relative to the control",
        [
            Estimate(
                f"{words(metric)}, {arm}" if len({a for _, a in last}) > 1 else words(metric),
                *_span(look.difference),
                look.verdict,
            )
            for (metric, arm), look in last.items()
            if look.is_relative
        ],
        reference=0.0,
        shown=percent,
        reason="no metric has a value",
    )
    rows = [
        (
            words(metric),
            arm,
            Cell(f"{look.units[1]:,}", look.units[1]),
            _number(look.control_value, look.is_share),
            _number(look.arm_value, look.is_share),
            _difference(look),
            look.verdict or "–",
        )
        for (metric, arm), look in last.items()
    ]
    columns = (
        "metric",
        "arm",
        Column("units", True),
        Column("control", True),
        Column("value", True),
        Column("difference (95 %)", True),
        "verdict",
    )
    days = {look.day for look in experiment.looks}
    warnings = (
        tables.table("Warnings", ("warning",), [(text,) for text in experiment.warnings])
        if experiment.warnings
        else None
    )
    return section(
        words(experiment.name),
        answers([answer(experiment)]),
        multiples(forest if len(last) > 1 else None, *drawn),
        tables.table("The last look", columns, rows, empty="No comparison of arms; see the decision above."),
        warnings,
        anchor=experiment.name,
        about=f"{day_text(experiment.since)} to {day_text(experiment.until)}, {plural(len(days), 'look')}.",
    )


def _over_days(looks: list[Look]) -> Markup:
    first = looks[0]
    caption = f"{words(first.metric)}: {first.arm} against {first.control}"
    note = "The difference relative to the control, with its interval. An interval that leaves out zero is a change."
    return charts.lines(
        caption,
        [Series(first.arm, [look.difference for look in looks])],
        marks=[Mark("", 0.0)],
        shown=percent if first.is_relative else short,
        reason="an arm has no units, so there is no difference",
        note=note,
    )


def percent(value: float | None) -> str:
    """Format a relative difference with its sign."""
    if value is None:
        return "–"
    return f"{round(100 * value, 1):+g} %".replace("-", "−") if value else "0 %"


def _span(point: Point) -> tuple[float | None, float | None, float | None]:
    return point.value, point.low, point.high


def _difference(look: Look) -> str:
    point = look.difference
    shown = percent if look.is_relative else short
    if point.value is None or point.low is None or point.high is None:
        return shown(point.value)
    return f"{shown(point.value)} ({shown(point.low)} to {shown(point.high)})"


def _number(value: float | None, is_share: bool) -> str:
    return f"{100 * value:.2f} %" if is_share and value is not None else short(value)
