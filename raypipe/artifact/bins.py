"""Fix bins at fit time and count scored rows in them; drift is measured on these counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter

from raypipe.artifact.contract import Matrix

BINS = 10
# A share's error shrinks with the root of the count, so a sixteenth of a million rows is plenty.
STRIDE = 16
# Batches wait for so many rows, of which a sample of a few MB is kept.
COUNTED_ROWS = 131_072

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """The bins of every feature and of the score, and the share of rows in each at fit time.

    Attributes:
        features: ascending inner edges per feature; n edges make n + 1 bins.
        feature_shares: n + 2 shares per feature, the last for missing values.
        score: the inner edges of the score.
        score_shares: the share of each bin of the score, the last for missing scores.
    """

    features: tuple[tuple[float, ...], ...]
    feature_shares: tuple[tuple[float, ...], ...]
    score: tuple[float, ...]
    score_shares: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the bins as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Bins:
        """Read the bins that `to_json` wrote."""
        return TypeAdapter(cls).validate_python(document)


def fit_bins(x: Matrix, scores: npt.NDArray[np.float32]) -> Bins:
    """Make bins at the deciles of the rows (rows, features) and scores (rows,); few values get one bin each."""
    features = tuple(_edges(x[:, i]) for i in range(x.shape[1]))
    shares = tuple(_shares(count(x[:, i], edges)) for i, edges in enumerate(features))
    score = _edges(scores)
    return Bins(features, shares, score, _shares(count(scores, score)))


def count(values: npt.NDArray[np.float32], edges: Sequence[float]) -> Counts:
    """Count the values in each bin, missing values last; shape (len(edges) + 2,)."""
    missing = np.isnan(values)
    # `side="right"` puts a value on an edge into the bin above, as at fit time.
    index = np.searchsorted(np.asarray(edges, dtype=np.float32), values, side="right")
    index[missing] = len(edges) + 1
    return np.bincount(index, minlength=len(edges) + 2).astype(np.int64)


class Tally:
    """Count many batches into bins: the features of a sample of rows, the scores of all rows."""

    def __init__(self, bins: Bins) -> None:
        self._bins = bins
        self._features = [np.zeros(len(edges) + 2, np.int64) for edges in bins.features]
        self._score = np.zeros(len(bins.score) + 2, np.int64)
        # Counted together: one call per feature and small batch would cost more than the rows.
        self._sample: list[Matrix] = []
        self._scores: list[npt.NDArray[np.float32]] = []
        self._waiting = 0

    def add(self, x: Matrix, scores: npt.NDArray[np.float32]) -> None:
        """Add a batch (rows, features) and its scores (rows,)."""
        self._sample.append(x[::STRIDE].copy())
        self._scores.append(scores)
        self._waiting += len(x)
        if self._waiting >= COUNTED_ROWS:
            self._count()

    def _count(self) -> None:
        if self._waiting:
            sample = np.concatenate(self._sample)
            for counts, values, edges in zip(self._features, sample.T, self._bins.features, strict=True):
                counts += count(values, edges)
            self._score += count(np.concatenate(self._scores), self._bins.score)
        self._sample, self._scores, self._waiting = [], [], 0

    @property
    def features(self) -> list[Counts]:
        """Return the counts of each feature."""
        self._count()
        return self._features

    @property
    def scores(self) -> Counts:
        """Return the counts of the scores."""
        self._count()
        return self._score

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values."""
        return {"features": [counts.tolist() for counts in self.features], "scores": self.scores.tolist()}


def _edges(values: npt.NDArray[np.float32]) -> tuple[float, ...]:
    known = values[~np.isnan(values)]
    if known.size == 0:
        return ()
    distinct = np.unique(known)
    if distinct.size <= BINS:
        return tuple(float(edge) for edge in distinct[1:])
    quantiles = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])
    # Frequent values repeat as deciles; an edge at the smallest value would leave an empty bin.
    edges = np.unique(quantiles[quantiles > distinct[0]])
    # Where nine of ten rows have the smallest value, one edge still separates the other rows.
    return tuple(float(edge) for edge in edges) or (float(distinct[1]),)


def _shares(counts: Counts) -> tuple[float, ...]:
    total = max(int(counts.sum()), 1)
    return tuple(float(number) / total for number in counts)
