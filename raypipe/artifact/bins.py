"""Histograms against bins fixed at fit time: what drift is measured on, born while rows are scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.contract import Matrix

BINS = 10
# A share's error shrinks with the root of the count, so a sixteenth of a million rows is plenty.
STRIDE = 16

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """The inner edges of every feature's bins and of the score's, and the share of each bin at fit time.

    Attributes:
        features: per feature, ascending inner edges; n edges make n + 1 bins.
        feature_shares: per feature, n + 2 shares; the last is that of missing values.
        score: the score's inner edges.
        score_shares: the share of each of the score's bins, and of missing scores.
    """

    features: tuple[tuple[float, ...], ...]
    feature_shares: tuple[tuple[float, ...], ...]
    score: tuple[float, ...]
    score_shares: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        """The bins as JSON-ready values."""
        return {
            "features": self.features,
            "feature_shares": self.feature_shares,
            "score": self.score,
            "score_shares": self.score_shares,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Bins:
        """The bins that `to_json` wrote."""
        return cls(
            tuple(tuple(edges) for edges in document["features"]),
            tuple(tuple(shares) for shares in document["feature_shares"]),
            tuple(document["score"]),
            tuple(document["score_shares"]),
        )


def fit_bins(x: Matrix, scores: npt.NDArray[np.float32]) -> Bins:
    """Bins at the deciles of the fitted rows; a feature with few values gets a bin a value.

    Args:
        x: the feature matrix of shape (rows, features).
        scores: the model's scores of those rows.
    """
    features = tuple(_edges(x[:, i]) for i in range(x.shape[1]))
    shares = tuple(_shares(count(x[:, i], edges)) for i, edges in enumerate(features))
    score = _edges(scores)
    return Bins(features, shares, score, _shares(count(scores, score)))


def count(values: npt.NDArray[np.float32], edges: Sequence[float]) -> Counts:
    """How many values fall into each bin, the missing ones last; shape (len(edges) + 2,)."""
    missing = np.isnan(values)
    # `side="right"` puts a value equal to an edge above it, as at fit time.
    index = np.searchsorted(np.asarray(edges, dtype=np.float32), values, side="right")
    index[missing] = len(edges) + 1
    return np.bincount(index, minlength=len(edges) + 2).astype(np.int64)


class Tally:
    """Counts per bin over many batches: the features of every 16th row, the scores of all."""

    def __init__(self, bins: Bins) -> None:
        self._bins = bins
        # Counted together at the end: a batch is small, and a call for each of its features costs more than the rows.
        self._sample: list[Matrix] = []
        self._scores: list[npt.NDArray[np.float32]] = []

    def add(self, x: Matrix, scores: npt.NDArray[np.float32]) -> None:
        """Takes a batch in: `x` of shape (rows, features) and its scores."""
        self._sample.append(x[::STRIDE].copy())
        self._scores.append(scores)

    @property
    def features(self) -> list[Counts]:
        """The counts of each feature."""
        sample = np.concatenate([np.empty((0, len(self._bins.features)), np.float32), *self._sample])
        return [count(values, edges) for values, edges in zip(sample.T, self._bins.features, strict=True)]

    @property
    def scores(self) -> Counts:
        """The counts of the scores."""
        return count(np.concatenate([np.empty(0, np.float32), *self._scores]), self._bins.score)

    def to_json(self) -> dict[str, Any]:
        """The counts as JSON-ready values."""
        return {"features": [counts.tolist() for counts in self.features], "scores": self.scores.tolist()}


def _edges(values: npt.NDArray[np.float32]) -> tuple[float, ...]:
    known = values[~np.isnan(values)]
    if known.size == 0:
        return ()
    distinct = np.unique(known)
    if distinct.size <= BINS:
        return tuple(float(edge) for edge in distinct[1:])
    quantiles = np.quantile(known, np.linspace(0, 1, BINS + 1)[1:-1])
    # Repeated deciles come from heavy values; an edge at the smallest value would leave an empty bin.
    edges = np.unique(quantiles[quantiles > distinct[0]])
    # Where nine rows of ten have the smallest value, the others are still told apart from it.
    return tuple(float(edge) for edge in edges) or (float(distinct[1]),)


def _shares(counts: Counts) -> tuple[float, ...]:
    total = max(int(counts.sum()), 1)
    return tuple(float(number) / total for number in counts)
