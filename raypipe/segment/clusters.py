"""Assign rows to fitted clusters, and keep the clusters' numbers from one model to the next."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.errors import ModelError
from raypipe.models.checks import require_features
from raypipe.models.chunks import in_chunks
from raypipe.models.model import Answer, FloatArray, Rows, shares
from raypipe.segment.profiles import Profile, describe

FILE = "clusters.json"
# A row's cluster is a UInt16. Numbers are never reused, and one new cluster per night takes 365 a year.
LARGEST_NUMBER = 65_535

Floats = npt.NDArray[np.float64]


class Assignment(NamedTuple):
    """The clusters of rows, each of shape (rows,).

    Attributes:
        numbers: the cluster's number.
        confidence: 1 - d1 / d2 with the distances to the nearest and the second nearest centroid: 0 on the
            border between two clusters, 1 on a centroid, and 1 where there is a single cluster.
    """

    numbers: npt.NDArray[np.uint16]
    confidence: FloatArray


@dataclass(frozen=True)
class Centroids:
    """Cluster centres that a later model can follow.

    Attributes:
        numbers: (clusters,).
        values: (clusters, columns), in the columns' own units.
    """

    columns: tuple[str, ...]
    numbers: tuple[int, ...]
    values: Floats


class Clusters:
    """A k-means model. Its score is the confidence, and its answers have the column `cluster`.

    Args:
        fill: (columns,), the replacements of missing values.
        mean: (columns,), of the training rows.
        scale: (columns,), their standard deviation; 1 for a constant column.
        centroids: (clusters, columns), in the columns' own units.
        numbers: (clusters,), distinct, up to `LARGEST_NUMBER`.
        words: per column the words for few and for many of it.
    """

    outputs: Mapping[str, str] = MappingProxyType({"cluster": "UInt16"})

    def __init__(
        self,
        columns: Sequence[str],
        fill: npt.ArrayLike,
        mean: npt.ArrayLike,
        scale: npt.ArrayLike,
        centroids: npt.ArrayLike,
        sizes: npt.ArrayLike,
        numbers: npt.ArrayLike,
        words: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._columns = tuple(columns)
        self._fill, self._mean, self._scale = (np.asarray(part, np.float64) for part in (fill, mean, scale))
        self._values = np.asarray(centroids, np.float64)
        self._sizes, self._numbers = np.asarray(sizes, np.int64), np.asarray(numbers, np.int64)
        self._words = {column: (few, many) for column, (few, many) in (words or {}).items()}
        self._centres = (self._values - self._mean) / self._scale
        self._threads = 0

    @property
    def values(self) -> dict[str, Any]:
        """Return the clusters' descriptions for publish.sql: arrays in the order of `segment_numbers`."""
        profiles = self.profile()
        return {
            "segment_numbers": [profile.number for profile in profiles],
            "segment_codes": [profile.code for profile in profiles],
            "segment_names": [profile.name for profile in profiles],
            "segment_descriptions": [profile.description for profile in profiles],
        }

    def answer(self, rows: Rows) -> Answer:
        """Return the confidence as the score, and the cluster's number."""
        assigned = self.assign(rows.x)
        return Answer(assigned.confidence, {"cluster": pa.array(assigned.numbers, pa.uint16())})

    @property
    def centroids(self) -> Centroids:
        """Return the cluster centres with their numbers."""
        return Centroids(self._columns, tuple(self._numbers.tolist()), self._values.copy())

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the confidence of each row's cluster, from 0 to 1."""
        return self.assign(x).confidence

    def assign(self, x: FloatArray) -> Assignment:
        """Return the cluster and the confidence of each row of a (rows, columns) matrix."""
        require_features(x, len(self._columns))
        assigned = Assignment(np.empty(len(x), np.uint16), np.empty(len(x), np.float32))

        def place(rows: slice) -> None:
            distances = self._distances(self._standardised(x[rows]))
            at = np.arange(distances.shape[1])
            nearest = distances.argmin(axis=0)
            first = distances[nearest, at]
            distances[nearest, at] = np.inf
            second = distances.min(axis=0)
            assigned.numbers[rows] = self._numbers[nearest]
            # Between two centroids on one spot the confidence is 0.
            assigned.confidence[rows] = 1 - np.divide(first, second, out=np.ones_like(first), where=second > 0)

        in_chunks(len(x), self._threads, place)
        return assigned

    def match(self, previous: Centroids | None, taken: Collection[int] = ()) -> Clusters:
        """Give the clusters the numbers of the earlier clusters that they follow.

        A new cluster can follow an old cluster when either is the nearest neighbour of the other. The matching makes
        as many of these pairs as possible, with the smallest sum of distances (Kuhn 1955, "The Hungarian method").
        Distances are measured between centroids in the columns' units and divided by today's deviations, so that
        yesterday's scaling does not matter. Columns of only one of the models do not count. A cluster without a partner
        gets the lowest number that was never used; the number of a lost cluster is not reused.

        Args:
            previous: the clusters to follow; None gives every cluster an unused number, the largest the lowest.
            taken: more numbers that were used before, and that no cluster may get.

        Raises:
            ModelError: the models have no column in common, or no number is left.
        """
        followed = {} if previous is None else self._followed(previous)
        known = {*taken, *(previous.numbers if previous else ())}
        free = [number for number in range(LARGEST_NUMBER + 1) if number not in known]
        new = [row for row in range(len(self._numbers)) if row not in followed]
        if len(free) < len(new):
            raise ModelError(
                "There are no numbers left for new clusters",
                found=f"{len(known):,} numbers used before",
                allowed=f"0 to {LARGEST_NUMBER}",
                next_step="rename the pipeline, so that its numbers begin again",
            )
        given = {**followed, **dict(zip(new, free, strict=False))}
        parts = (self._fill, self._mean, self._scale, self._values, self._sizes)
        return Clusters(self._columns, *parts, [given[row] for row in range(len(self._numbers))], self._words)

    def silhouettes(self, x: FloatArray, numbers: npt.NDArray[np.uint16] | None = None) -> Floats:
        """Return the silhouette of each row, (rows,), with distances on this model's standardised columns.

        It compares every pair of rows (Rousseeuw 1987, "Silhouettes"). It is 0 where fewer than two clusters have rows.

        Args:
            numbers: (rows,), the clusters of another model, to compare both on one scale; None for this model's own.
        """
        require_features(x, len(self._columns))
        numbers = self.assign(x).numbers if numbers is None else numbers
        if not 2 <= len(np.unique(numbers)) < len(x):
            return np.zeros(len(x))
        from sklearn.metrics import silhouette_samples

        return np.asarray(silhouette_samples(self._standardised(x), numbers), np.float64)

    def profile(self) -> list[Profile]:
        """Describe each cluster in words, ordered by number."""
        return describe(
            self._columns, self._values, self._centres, self._sizes.tolist(), self._numbers.tolist(), self._words
        )

    def explain(self, x: FloatArray) -> FloatArray:
        """Refuse, since clusters have no additive explanations."""
        raise ModelError("Clusters have no explanations", next_step="set score.explain.rows to 0; see `profile`")

    def importance(self) -> FloatArray:
        """Return each standardised column's share of the variance between clusters."""
        between = self._sizes @ (self._centres - np.average(self._centres, axis=0, weights=self._sizes)) ** 2
        return shares(between)

    def files(self) -> dict[str, bytes]:
        """Return `clusters.json`, whose numbers are exact to the last bit."""
        content = {
            "columns": self._columns,
            "fill": self._fill.tolist(),
            "mean": self._mean.tolist(),
            "scale": self._scale.tolist(),
            "centroids": self._values.tolist(),
            "sizes": self._sizes.tolist(),
            "numbers": self._numbers.tolist(),
            "words": self._words,
        }
        return {FILE: json.dumps(content, indent=1, allow_nan=False).encode()}

    @classmethod
    def from_json(cls, content: bytes) -> Clusters:
        """Load the clusters that `files` wrote.

        Raises:
            ModelError: the content was not written by `files`.
        """
        try:
            model = cls(**json.loads(content))
            model._validate()
        except (ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"{FILE} holds no clusters", found=f"{type(error).__name__}: {error}") from error
        return model

    def set_threads(self, threads: int) -> None:
        """Set the threads of `assign` and `predict`; 0 means all cores."""
        self._threads = threads

    def _validate(self) -> None:
        rows, width = len(self._numbers), len(self._columns)
        parts = (self._fill, self._mean, self._scale)
        if self._values.shape != (rows, width) or any(part.shape != (width,) for part in parts) or not rows:
            raise ValueError(f"an array has no shape for {rows} clusters of {width} columns")
        if self._sizes.shape != (rows,) or self._sizes.min() < 1:
            raise ValueError("a cluster has no rows")
        if not np.isfinite(self._centres).all() or not np.isfinite(self._fill).all():
            raise ValueError("a number is not finite")
        if len(set(self._numbers.tolist())) < rows or self._numbers.min() < 0 or self._numbers.max() > LARGEST_NUMBER:
            raise ValueError(f"the clusters' numbers are not distinct numbers from 0 to {LARGEST_NUMBER}")

    def _followed(self, previous: Centroids) -> dict[int, int]:
        """Map rows of centroids to the numbers of the earlier clusters that they follow."""
        shared = [name for name in self._columns if name in previous.columns]
        if not shared:
            raise ModelError("The clusters cannot be matched", found="no column in common with the earlier model")
        ours = [self._columns.index(name) for name in shared]
        theirs = [previous.columns.index(name) for name in shared]
        gap = (self._values[:, None, ours] - previous.values[None][:, :, theirs]) / self._scale[ours]
        distances = np.linalg.norm(gap, axis=2)
        nearest = (distances == distances.min(axis=0)) | (distances == distances.min(axis=1, keepdims=True))
        from scipy.optimize import linear_sum_assignment

        # A pair that is not nearest costs more than all nearest pairs together, so that no nearest pair is given up for
        # it. A lost cluster and a new cluster elsewhere stay two clusters, even when nothing else is left for either.
        mine, earlier = linear_sum_assignment(np.where(nearest, distances, 1 + distances.sum()))
        return {
            row: previous.numbers[other]
            for row, other in zip(mine.tolist(), earlier.tolist(), strict=True)
            if nearest[row, other]
        }

    def _standardised(self, x: FloatArray) -> Floats:
        return np.asarray((np.where(np.isnan(x), self._fill, x) - self._mean) / self._scale, np.float64)

    def _distances(self, z: Floats) -> Floats:
        """Return distances (clusters, rows) from differences; products would lose small distances to cancellation."""
        distances = np.empty((len(self._centres), len(z)))
        for at, centre in enumerate(self._centres):
            gap = z - centre
            distances[at] = np.sqrt(np.einsum("ij,ij->i", gap, gap))
        return distances
