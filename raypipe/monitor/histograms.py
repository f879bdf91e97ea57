"""The histograms of a night: one per column, and one per column and value of a slice column.

They are kept as rows of raypipe_histograms, so that later nights can be compared with a night that was accepted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import cached_property
from math import nan, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.clickhouse.client import Client, content_token

TABLE = "raypipe_histograms"
SCORE = "score"
_READ = """
SELECT column, slice_column, slice_value, counts, edges, means, wide
FROM raypipe_histograms FINAL
WHERE pipeline = {pipeline:String} AND date = {date:Date} AND run_id = {run_id:String}
"""


@dataclass(frozen=True, order=True)
class Series:
    """A column over all rows, or over the rows with one value of a slice column."""

    column: str
    slice_column: str = ""
    slice_value: str = ""


@dataclass(frozen=True)
class Histogram:
    """Rows per bin of one series.

    Attributes:
        counts: rows per bin, missing values last; shape (bins + 1,).
        edges: the inner edges, ascending; shape (bins - 1,).
        means: the mean of the fit's values in each bin; shape (bins,).
        wide: the positions of the edges between the wide bins.
    """

    counts: npt.NDArray[np.float64]
    edges: npt.NDArray[np.float32]
    means: npt.NDArray[np.float64]
    wide: tuple[int, ...]

    @cached_property
    def rows(self) -> int:
        """Return the number of counted rows."""
        return round(float(self.counts.sum()))

    @cached_property
    def known(self) -> float:
        """Return the number of rows with a value."""
        return float(self.counts[:-1].sum())

    @property
    def missing(self) -> float:
        """Return the share of rows without a value."""
        return float(self.counts[-1]) / max(self.rows, 1)

    @cached_property
    def mean(self) -> float:
        """Return the mean of the known values, each bin at its mean; NaN without a value."""
        return float(self.counts[:-1] @ self.means) / self.known if self.known else nan

    @property
    def deviation(self) -> float:
        """Return the standard deviation of the known values, each bin at its mean; 0 without a value."""
        return sqrt(float(self.counts[:-1] @ (self.means - self.mean) ** 2) / self.known) if self.known else 0.0

    @property
    def width(self) -> float:
        """Return the distance of the means of the lowest and the highest bin."""
        return float(self.means[-1] - self.means[0])

    @property
    def unseen(self) -> float:
        """Return the share of known values outside the fit's values."""
        outside = self.counts[0] + self.counts[-2] if len(self.counts) > 2 else self.counts[0]
        return float(outside) / max(self.known, 1.0)

    @cached_property
    def widened(self) -> npt.NDArray[np.float64]:
        """Return the rows per wide bin, missing values last."""
        if len(self.wide) == len(self.edges):
            return self.counts
        group = np.searchsorted(np.asarray(self.wide, dtype=np.int64), np.arange(len(self.edges) + 1) - 1, "right")
        counts = np.bincount(np.append(group, len(self.wide) + 1), self.counts, minlength=len(self.wide) + 2)
        return counts.astype(np.float64)

    def in_bins_of(self, other: Histogram, growth: float = 0.0) -> Histogram:
        """Return the rows in another histogram's bins; each bin's rows go where the mean of the bin is.

        Args:
            growth: the rise of every value.
        """
        if not growth and np.array_equal(self.edges, other.edges):
            # Versions may group the same bins otherwise.
            return self if self.wide == other.wide else replace(self, wide=other.wide)
        values = (self.means + growth).astype(np.float32)
        place = np.searchsorted(other.edges, values, side="right")
        known = np.bincount(place, self.counts[:-1], minlength=len(other.edges) + 1)
        return replace(other, counts=np.append(known, self.counts[-1]))


@dataclass(frozen=True)
class Night:
    """The run of a night: its pipeline, date and version."""

    pipeline: str
    date: date
    run_id: str
    model_id: str
    model_version: str


def write(client: Client, night: Night, histograms: Mapping[Series, Histogram]) -> None:
    """Write the histograms of a night; writing them twice leaves one row each."""
    now = datetime.now(UTC)
    rows = [
        {
            **vars(night),
            **vars(series),
            "rows": histogram.rows,
            "counts": [round(float(number)) for number in histogram.counts],
            "edges": histogram.edges.tolist(),
            "means": histogram.means.tolist(),
            "wide": list(histogram.wide),
            "written_at": now,
        }
        for series, histogram in histograms.items()
    ]
    if rows:
        client.insert_rows(TABLE, rows, token=content_token(night.run_id, TABLE, now.isoformat()))


def read(client: Client, night: Night) -> dict[Series, Histogram]:
    """Return the histograms of a night; none if the run kept none."""
    bound = {"pipeline": night.pipeline, "date": night.date, "run_id": night.run_id}
    return {
        Series(column, slice_column, slice_value): _histogram(*arrays)
        for column, slice_column, slice_value, *arrays in client.rows(_READ, bound)
    }


def _histogram(counts: Sequence[Any], edges: Sequence[float], means: Sequence[float], wide: Sequence[int]) -> Histogram:
    return Histogram(
        np.asarray(counts, dtype=np.float64),
        np.asarray(edges, dtype=np.float32),
        np.asarray(means, dtype=np.float64),
        tuple(int(position) for position in wide),
    )
