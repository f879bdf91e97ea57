"""Fix the bins of every column at the fit, in which scored rows are counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from raypipe.artifact.contract import Matrix

Values = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

# Bins of a column with many values; each has 1/200 of the fit's rows, which bounds the error of a distance of CDFs.
FINE = 200
# Up to so many distinct values, each value and each gap between two values has a bin of its own.
DISTINCT = 256
# Bins of the population stability index: deciles, as in Siddiqi 2006, "Credit Risk Scorecards".
WIDE = 10
# A rise is steady if no step between two dates is steeper or flatter than the whole by this factor.
UNSTEADY = 1.5
# The bins of a feature that grows go on for so many days of growth.
GROWING_DAYS = 400


@dataclass(frozen=True)
class ColumnBins:
    """The bins of a column, and the fit's rows in them.

    Attributes:
        edges: ascending inner edges; n edges make n + 1 bins. The first and the last bin are outside the fit's values.
        shares: n + 2 shares of the fit's rows, the last for missing values.
        means: the mean of the fit's values in each bin; the middle of a bin without values.
        wide: positions of the edges between the wide bins of the population stability index.
    """

    edges: tuple[float, ...] = ()
    shares: tuple[float, ...] = (0.0, 1.0)
    means: tuple[float, ...] = (0.0,)
    wide: tuple[int, ...] = ()

    @property
    def group(self) -> npt.NDArray[np.int64]:
        """Return the wide bin of each bin, missing values last; shape (len(edges) + 2,)."""
        wide = np.searchsorted(np.asarray(self.wide, dtype=np.int64), np.arange(len(self.edges) + 1) - 1, side="right")
        return np.append(wide, len(self.wide) + 1).astype(np.int64)

    def widened(self) -> ColumnBins:
        """Return the wide bins alone."""
        group = self.group
        shares = np.bincount(group, self.shares)
        known = np.asarray(self.shares[:-1])
        weight = np.maximum(known, 1e-12)
        means = np.bincount(group[:-1], weight * self.means) / np.bincount(group[:-1], weight)
        edges = tuple(self.edges[position] for position in self.wide)
        return ColumnBins(edges, tuple(map(float, shares)), _plain(means), tuple(range(len(edges))))


@dataclass(frozen=True)
class Trend:
    """The growth of a feature with the calendar.

    Attributes:
        per_day: the growth of the median per day; None if the fit's dates do not show a steady rise.
        since: the middle of the fit's dates, at which the bins are right.
        whole: whether all values are whole numbers, so that bins move by whole numbers, too.
    """

    per_day: float | None
    since: date
    whole: bool

    def growth(self, day: date) -> float:
        """Return the growth from the fit to a day."""
        grown = (self.per_day or 0.0) * (day - self.since).days
        return float(round(grown)) if self.whole else grown


@dataclass(frozen=True)
class Bins:
    """The bins of every feature and of the score.

    Attributes:
        rows: the rows of the fit that the shares come from.
        trends: the features that grow with the calendar, by matrix column.
        groups: the number of groups of rows that share a value, by matrix column, where there are such groups.
    """

    features: tuple[ColumnBins, ...]
    score: ColumnBins
    rows: int
    trends: Mapping[str, Trend]
    groups: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the bins as JSON-ready values."""
        document: dict[str, Any] = _JSON.dump_python(self, mode="json")
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Bins:
        """Read the bins that `to_json` wrote."""
        return _JSON.validate_python(document)


_JSON = TypeAdapter(Bins)


def fit_bins(
    x: Matrix,
    scores: Values,
    columns: Sequence[str] = (),
    trends: Mapping[str, Trend] | None = None,
    groups: Mapping[str, float] | None = None,
) -> Bins:
    """Make bins of the rows (rows, features) and scores (rows,) of a fit.

    Args:
        columns: the names of the features, where `trends` has some.
    """
    known = dict(trends or {})
    growth = [known[name].per_day or 0.0 if name in known else 0.0 for name in columns or [""] * x.shape[1]]
    features = tuple(column_bins(x[:, i], GROWING_DAYS * growth[i]) for i in range(x.shape[1]))
    return Bins(features, column_bins(scores), len(x), known, dict(groups or {}))


def column_bins(values: Values, growth: float = 0.0) -> ColumnBins:
    """Make the bins of a column: one per value if there are few, otherwise at quantiles and around frequent values.

    Args:
        growth: the bins go on above the greatest value by so much.
    """
    known = values[np.isfinite(values)]
    if known.size == 0:
        return ColumnBins(shares=_shares(count(values, ())))
    distinct, numbers = np.unique(known, return_counts=True)
    wide = np.concatenate([_wide_edges(known, distinct), _further_edges(known, growth)]).astype(np.float32)
    if distinct.size <= DISTINCT:
        cuts = [distinct, _above(distinct)]
    else:
        frequent = distinct[numbers >= known.size / FINE]
        quantiles = np.quantile(known, np.linspace(0, 1, FINE + 1), method="higher")
        cuts = [quantiles, frequent, _above(frequent), _above(distinct[-1:])]
    edges = np.unique(np.concatenate([*cuts, wide]).astype(np.float32))
    counts = count(values, edges)
    positions = np.searchsorted(edges, wide)
    return ColumnBins(
        _plain(edges), _shares(counts), _plain(_means(known, edges, counts)), tuple(int(place) for place in positions)
    )


def count(values: Values, edges: Sequence[float] | Values) -> Counts:
    """Count the values in each bin, missing values last; shape (len(edges) + 2,)."""
    return count_sorted(np.sort(values), np.asarray(edges, dtype=np.float32), int(np.isnan(values).sum()))


def count_sorted(values: Values, edges: Values, missing: int) -> Counts:
    """Count ascending values in each bin; a value on an edge is in the bin above.

    A sort by vector instructions and a search of the edges takes a fraction of a search of each value.

    Args:
        missing: the number of NaN, which a sort puts last.
    """
    counts = np.empty(len(edges) + 2, np.int64)
    below = np.searchsorted(values, edges, side="left")
    counts[:-2], counts[-2], counts[-1] = below, len(values) - missing, missing
    counts[1:-1] -= below
    return counts


def trends(
    x: Matrix, columns: Sequence[str], dates: Sequence[date], cumulative: Sequence[str], numbers: Sequence[str]
) -> dict[str, Trend]:
    """Find the features that grow with the calendar: those declared, and those with a median that moves with the date.

    The medians of the training dates have to move in one direction, by more than five standard errors in all. The
    standard error of a median is 1.2533 times that of the mean (Kendall and Stuart, "The Advanced Theory of
    Statistics").

    Args:
        x: rows of the fit, shape (rows, features).
        dates: the date of each row.
        cumulative: the columns that the config declares as growing.
        numbers: the columns that may be found to grow.
    """
    days, at = np.unique(np.asarray(dates, dtype="datetime64[D]"), return_inverse=True)
    ordinals = days.astype(np.int64)
    since = (days[0] + (ordinals.mean() - ordinals[0]).round().astype("timedelta64[D]")).astype(date)
    found = {}
    for position, name in enumerate(columns):
        if name not in cumulative and (name not in numbers or len(days) < 2):
            continue
        groups = [values[np.isfinite(values)] for values in (x[at == day, position] for day in range(len(days)))]
        groups = [values for values in groups if values.size]
        is_complete = 1 < len(groups) == len(days)
        if name in cumulative or (is_complete and _grows(groups)):
            whole = all(bool((values == np.round(values)).all()) for values in groups)
            found[name] = Trend(_steady(groups, ordinals) if is_complete else None, since, whole)
    return found


def _steady(groups: Sequence[Values], ordinals: npt.NDArray[np.int64]) -> float | None:
    """Return the median's rise per day if each step is near the whole.

    A ratio that falls off must not go on.
    """
    medians = np.array([float(np.median(values)) for values in groups])
    steps = np.diff(medians) / np.diff(ordinals)
    slope = float((medians[-1] - medians[0]) / (ordinals[-1] - ordinals[0]))
    return slope if slope > 0 and np.all(steps >= slope / UNSTEADY) and np.all(steps <= slope * UNSTEADY) else None


def _grows(groups: Sequence[Values]) -> bool:
    medians = np.array([float(np.median(values)) for values in groups])
    steps = np.diff(medians)
    if not (np.all(steps > 0) or np.all(steps < 0)):
        return False
    errors = [1.2533 * float(np.std(values)) / np.sqrt(values.size) for values in (groups[0], groups[-1])]
    return bool(abs(medians[-1] - medians[0]) > 5 * np.hypot(*errors))


def _wide_edges(known: Values, distinct: Values) -> Values:
    if distinct.size <= WIDE:
        return distinct[1:]
    quantiles = np.quantile(known, np.linspace(0, 1, WIDE + 1)[1:-1], method="higher")
    # Frequent values repeat as deciles; an edge at the smallest value would leave an empty bin.
    edges = np.unique(quantiles[quantiles > distinct[0]])
    # Where nine of ten rows have the smallest value, one edge still separates the other rows.
    return edges if edges.size else distinct[1:2]


def _further_edges(known: Values, growth: float) -> Values:
    """Return edges above the greatest value, as far apart as the deciles are on average."""
    if growth <= 0:
        return np.empty(0, np.float32)
    low, high = np.quantile(known, [0.1, 0.9])
    step = max((high - low) / WIDE, growth / 100)
    further: Values = np.arange(1, np.ceil(growth / step) + 1, dtype=np.float32) * np.float32(step) + known.max()
    return further


def _above(values: Values) -> Values:
    return np.nextafter(values, np.float32(np.inf), dtype=np.float32)


def _means(known: Values, edges: Values, counts: Counts) -> Values:
    bounds = np.concatenate([edges[:1], edges, edges[-1:]]).astype(np.float64)
    middles = (bounds[:-1] + bounds[1:]) / 2
    sums = np.bincount(np.searchsorted(edges, known, side="right"), known.astype(np.float64), len(edges) + 1)
    return np.where(counts[:-1] > 0, sums / np.maximum(counts[:-1], 1), middles).astype(np.float32)


def _shares(counts: Counts) -> tuple[float, ...]:
    total = max(int(counts.sum()), 1)
    return tuple(float(number) / total for number in counts)


def _plain(values: npt.NDArray[Any]) -> tuple[float, ...]:
    """Return the shortest decimals that give the same Float32 values."""
    return tuple(float(str(value)) for value in np.asarray(values, dtype=np.float32))
