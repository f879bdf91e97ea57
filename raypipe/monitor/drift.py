"""Compare the histograms of a night with those of a reference, and say what has shifted by more than chance.

A series has shifted when its population stability index is more than chance gives and, less what chance gives on
average, reaches a limit; or when it has moved by several times its usual move.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import date

from raypipe.monitor import moves
from raypipe.monitor.distances import Distances, Pair, distances
from raypipe.monitor.histograms import SCORE, Histogram, Series
from raypipe.monitor.moves import Usual

# The reference: the last accepted night, the accepted night a week before, or the rows of the fit.
NIGHT, WEEKDAY, FIT = "night", "weekday", "fit"
OK, WARNING, ALERT, NOT_COMPARED = "ok", "warning", "alert", "not_compared"
# Fewer rows on either side are not judged.
LEAST_ROWS = 100


@dataclass(frozen=True)
class Limits:
    """The indices of a column that are a warning and an alert; an ignored column has neither."""

    warning: float
    alert: float
    ignore: bool = False


@dataclass(frozen=True)
class Reference:
    """The distributions that a night is compared with.

    Attributes:
        kind: NIGHT, WEEKDAY or FIT.
        date: the date of the night, or the middle of the fit's dates; None without a reference.
        run_id: empty for the fit.
        usual: the usual moves of the nights before, by series; none for the fit.
        reason: why there is nothing to compare with; otherwise empty.
    """

    kind: str
    date: date | None = None
    run_id: str = ""
    version: str = ""
    histograms: Mapping[Series, Histogram] = field(default_factory=dict)
    usual: Mapping[Series, Usual] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Comparison:
    """One series of a night against one reference; a measure that does not exist is None."""

    reference: Reference
    series: Series
    rows: int
    reference_rows: int = 0
    psi: float | None = None
    psi_noise: float | None = None
    js: float | None = None
    ks: float | None = None
    ks_error: float | None = None
    wasserstein: float | None = None
    missing: float | None = None
    reference_missing: float | None = None
    unseen: float | None = None
    reference_unseen: float | None = None
    status: str = NOT_COMPARED
    reason: str = ""

    @property
    def name(self) -> str:
        """Return the column, with the slice if it is of one."""
        series = self.series
        return series.column + f" [{series.slice_column}={series.slice_value}]" * bool(series.slice_column)


@dataclass(frozen=True)
class Terms:
    """The terms on which a series is compared.

    Attributes:
        not_comparable: why the two sides are not compared, whatever the rows; otherwise empty.
        groups: the number of groups of rows that share a value; chance counts no more rows.
    """

    limits: Limits
    not_comparable: str = ""
    groups: float = math.inf


def compare(
    counted: Mapping[Series, Histogram], reference: Reference, terms: Callable[[Series], Terms]
) -> list[Comparison]:
    """Compare the series of a night with a reference."""
    results: list[Comparison] = []
    pairs: dict[int, tuple[Terms, Pair]] = {}
    for series, now in counted.items():
        own, then = terms(series), reference.histograms.get(series)
        reason = reference.reason or own.not_comparable or ("ignored by monitor.features" if own.limits.ignore else "")
        if not reason and then is None:
            reason = f"no rows of this series on {reference.date}"
        result = Comparison(reference, series, now.rows, reason=reason)
        if then is not None and not reason:
            result = _counted(result, now, then)
            if not result.reason:
                pairs[len(results)] = own, Pair(then, now, own.groups)
        results.append(result)
    measured = distances([pair for _, pair in pairs.values()])
    for (place, (own, pair)), found in zip(pairs.items(), measured, strict=True):
        results[place] = _measured(results[place], own.limits, pair.now, found)
    return results


def _counted(result: Comparison, now: Histogram, then: Histogram) -> Comparison:
    """Add the rates of a pair, and the reason where it has too few rows."""
    is_whole = not result.series.slice_column
    fewest = min(now.rows, then.rows)
    return replace(
        result,
        reference_rows=then.rows,
        missing=now.missing,
        reference_missing=then.missing,
        # Slices are counted in wide bins, where the first and the last hold values of the fit.
        unseen=now.unseen if now.known and is_whole else None,
        reference_unseen=then.unseen if then.known and is_whole else None,
        reason=f"{fewest} rows are too few to judge; {LEAST_ROWS} are enough" if fewest < LEAST_ROWS else "",
    )


def _measured(result: Comparison, limits: Limits, now: Histogram, found: Distances) -> Comparison:
    usual = result.reference.usual.get(result.series)
    moved = moves.moved(result.series, now, usual) if usual else ""
    status, reason = _judged(found, _gone(result), moved, limits)
    return replace(
        result,
        psi=found.psi,
        psi_noise=found.psi_noise,
        js=found.js,
        ks=found.ks,
        ks_error=found.ks_error,
        wasserstein=found.wasserstein,
        status=status,
        reason=reason,
    )


def _judged(found: Distances, gone: str, moved: str, limits: Limits) -> tuple[str, str]:
    """Return the status of a measured series, and the reason for it."""
    is_more, index = found.psi > found.chance, found.psi - found.psi_noise
    if is_more and index >= limits.alert:
        return ALERT, gone or f"the index exceeds {limits.alert:g}"
    if moved:
        return ALERT, gone or moved
    if is_more and index >= limits.warning:
        return WARNING, gone or f"the index exceeds {limits.warning:g}"
    return OK, gone


def _gone(result: Comparison) -> str:
    """Say when a column has values on one side only."""
    when = "at the fit" if result.reference.kind == FIT else f"on {result.reference.date}"
    if result.missing == 1 and result.reference_missing == 1:
        return f"missing in all rows, as {when}"
    if result.reference_missing == 1:
        return f"missing in all rows {when}, and there now"
    if result.missing == 1:
        return f"there {when}, and missing in all rows now"
    return ""


@dataclass(frozen=True)
class Drift:
    """The drift of a run against the reference that alerts.

    Attributes:
        reference: the reference in words.
        features: the index of each compared matrix column over all rows.
        score: the index of the score; None where it was not compared.
        warnings: the names of the series with a warning, the largest index first; likewise `alerts`.
        score_counts: the rows of the run by wide bin of the score.
        since_fit: the columns that have shifted against the fit, whatever the reference that alerts.
    """

    reference: str
    features: Mapping[str, float]
    score: float | None
    warnings: tuple[str, ...]
    alerts: tuple[str, ...]
    score_counts: tuple[int, ...]
    since_fit: tuple[str, ...]

    @property
    def worst(self) -> float | None:
        """Return the largest index over all rows; None where nothing was compared."""
        known = [*self.features.values(), *([] if self.score is None else [self.score])]
        return max(known, default=None)


def summary(comparisons: list[Comparison], reference: Reference, score: Histogram | None) -> Drift:
    """Return the drift against one reference."""
    of_kind = [item for item in comparisons if item.reference.kind == reference.kind]
    whole = {item.series.column: item.psi for item in of_kind if not item.series.slice_column}
    known = {name: round(psi, 5) for name, psi in whole.items() if psi is not None}
    index = known.pop(SCORE, None)
    words = reference.reason or (
        "rows of the fit" if reference.kind == FIT else f"{reference.kind} of {reference.date}"
    )
    return Drift(
        words,
        known,
        index,
        tuple(_named(of_kind, WARNING)),
        tuple(_named(of_kind, ALERT)),
        tuple(int(number) for number in score.widened) if score else (),
        tuple(_named([item for item in comparisons if item.reference.kind == FIT], ALERT)),
    )


def _named(comparisons: list[Comparison], status: str) -> Iterator[str]:
    ranked = sorted(comparisons, key=lambda item: -(item.psi or 0.0))
    return (item.name for item in ranked if item.status == status)
