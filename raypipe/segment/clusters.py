"""Fitted clusters: which one each row belongs to, how surely, and numbers that last from one model to the next."""

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
from raypipe.models.chunks import in_chunks
from raypipe.models.protocol import Answer, FloatArray, Rows
from raypipe.segment.profiles import Profile, describe

FILE = "clusters.json"
# A row's cluster is a UInt16: numbers are never given twice, and a new cluster a night uses 365 a year.
LARGEST_NUMBER = 65_535

Floats = npt.NDArray[np.float64]


class Assignment(NamedTuple):
    """Where rows belong, each of shape (rows,).

    Attributes:
        numbers: the cluster's number, uint16.
        confidence: 1 - d1 / d2 with the distances to the nearest and the second nearest centroid: 0 on the
            border between two clusters, 1 on a centroid, and 1 where there is a single cluster.
        distance: d1, in standard deviations of the training rows.
    """

    numbers: npt.NDArray[np.uint16]
    confidence: FloatArray
    distance: FloatArray


@dataclass(frozen=True)
class Centroids:
    """Cluster centres to match later ones with.

    Attributes:
        columns: the names of the matrix's columns.
        numbers: (clusters,), the number of each cluster.
        values: (clusters, columns), in the columns' own units.
    """

    columns: tuple[str, ...]
    numbers: tuple[int, ...]
    values: Floats


class Clusters:
    """A k-means model behind raypipe's protocol.

    Its answers have the column `cluster`, a number of a cluster beside the confidence, which is the score.

    Args:
        columns: the names of the matrix's columns.
        fill: (columns,), what a missing value becomes.
        mean: (columns,), of the training rows.
        scale: (columns,), their standard deviation; 1 for a constant column.
        centroids: (clusters, columns), in the columns' own units.
        sizes: (clusters,), training rows of each cluster.
        numbers: (clusters,), distinct, up to `LARGEST_NUMBER`.
        words: per column what few and what many of it mean, for `profile`.
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
        """The clusters for people, as publish.sql binds them: arrays in the order of `segment_numbers`."""
        profiles = self.profile()
        return {
            "segment_numbers": [one.number for one in profiles],
            "segment_codes": [one.code for one in profiles],
            "segment_names": [one.name for one in profiles],
            "segment_descriptions": [one.description for one in profiles],
        }

    def answer(self, rows: Rows) -> Answer:
        """The confidence as the score, and the cluster's number."""
        found = self.assign(rows.x)
        return Answer(found.confidence, {"cluster": pa.array(found.numbers, pa.uint16())})

    @property
    def centroids(self) -> Centroids:
        """The cluster centres with their numbers."""
        return Centroids(self._columns, tuple(self._numbers.tolist()), self._values.copy())

    def predict(self, x: FloatArray) -> FloatArray:
        """The confidence of each row's cluster, from 0 to 1; `assign` says which cluster it is."""
        return self.assign(x).confidence

    def assign(self, x: FloatArray) -> Assignment:
        """The cluster, its confidence and the distance of each row of a (rows, columns) matrix."""
        self._check(x)
        found = Assignment(np.empty(len(x), np.uint16), np.empty(len(x), np.float32), np.empty(len(x), np.float32))

        def place(rows: slice) -> None:
            distances = self._distances(self._standardised(x[rows]))
            at = np.arange(distances.shape[1])
            nearest = distances.argmin(axis=0)
            first = distances[nearest, at]
            distances[nearest, at] = np.inf
            second = distances.min(axis=0)
            found.numbers[rows] = self._numbers[nearest]
            # Two centroids on one spot leave nothing to be sure of.
            found.confidence[rows] = 1 - np.divide(first, second, out=np.ones_like(first), where=second > 0)
            found.distance[rows] = first

        in_chunks(len(x), self._threads, place)
        return found

    def match(self, previous: Centroids | None, taken: Collection[int] = ()) -> Clusters:
        """The same clusters under the numbers of the earlier ones that they follow.

        A cluster may follow an earlier one where either is the nearest to the other among its like. Of these
        pairs as many as possible are made, with the least sum of distances (Kuhn, The Hungarian method, 1955),
        measured between centroids in their own units, divided by today's deviations: yesterday's scaling does not
        matter. Columns that only one of the models has are left out. A cluster without a partner gets the lowest number
        that nobody had; the number of one that is gone is not given away.

        Args:
            previous: what to follow; None gives every cluster a number that nobody had, the largest cluster the lowest.
            taken: numbers that other clusters had, beside the previous ones, and that no cluster may get.

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
                found=f"{len(known):,} numbers that clusters have or had",
                allowed=f"0 to {LARGEST_NUMBER}",
                next_step="give the pipeline another name, so that its numbers begin anew",
            )
        given = {**followed, **dict(zip(new, free, strict=False))}
        parts = (self._fill, self._mean, self._scale, self._values, self._sizes)
        return Clusters(self._columns, *parts, [given[row] for row in range(len(self._numbers))], self._words)

    def silhouettes(self, x: FloatArray, numbers: npt.NDArray[np.uint16] | None = None) -> Floats:
        """The silhouette coefficient of each row, (rows,), with distances on this model's standardised columns.

        It compares every pair of rows (Rousseeuw, Silhouettes, 1987), and is 0 where fewer than two clusters have rows.

        Args:
            x: (rows, columns).
            numbers: (rows,), another model's clusters, to compare the two on one scale; None for this model's own.
        """
        self._check(x)
        numbers = self.assign(x).numbers if numbers is None else numbers
        if not 2 <= len(np.unique(numbers)) < len(x):
            return np.zeros(len(x))
        from sklearn.metrics import silhouette_samples

        return np.asarray(silhouette_samples(self._standardised(x), numbers), np.float64)

    def profile(self, features: int = 3) -> list[Profile]:
        """What each cluster is like, by number; so many columns at most make its name."""
        return describe(
            self._columns, self._values, self._centres, self._sizes, self._numbers.tolist(), self._words, features
        )

    def explain(self, x: FloatArray) -> FloatArray:
        """Clusters have no additive explanations.

        Raises:
            ModelError: always.
        """
        raise ModelError("Clusters have no explanations", next_step="set score.explain.rows to 0; see `profile`")

    def importance(self) -> FloatArray:
        """Each column's share of the variance between clusters, on standardised columns."""
        between = self._sizes @ (self._centres - np.average(self._centres, axis=0, weights=self._sizes)) ** 2
        total = float(between.sum())
        return np.asarray(between / total if total > 0 else between, np.float32)

    def files(self) -> dict[str, bytes]:
        """`clusters.json`: numbers only, written so that they come back to the last bit."""
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
        """The clusters again.

        Raises:
            ModelError: the content is not what `files` wrote.
        """
        try:
            model = cls(**json.loads(content))
            model._validate()
        except (ValueError, TypeError, RecursionError) as error:
            raise ModelError(f"{FILE} holds no clusters", found=f"{type(error).__name__}: {error}") from error
        return model

    def set_threads(self, threads: int) -> None:
        """How many threads `assign` and `predict` use; 0 means all cores."""
        self._threads = threads

    def _validate(self) -> None:
        rows, width = len(self._numbers), len(self._columns)
        parts = (self._fill, self._mean, self._scale)
        if self._values.shape != (rows, width) or any(part.shape != (width,) for part in parts) or not rows:
            raise ValueError(f"{rows} clusters of {width} columns do not go with arrays of other shapes")
        if self._sizes.shape != (rows,) or self._sizes.min() < 1:
            raise ValueError("there is no size of at least one row per cluster")
        if not np.isfinite(self._centres).all() or not np.isfinite(self._fill).all():
            raise ValueError("the numbers are not all finite")
        if len(set(self._numbers.tolist())) < rows or self._numbers.min() < 0 or self._numbers.max() > LARGEST_NUMBER:
            raise ValueError(f"the clusters' numbers are not distinct, from 0 to {LARGEST_NUMBER}")

    def _followed(self, previous: Centroids) -> dict[int, int]:
        """By row of a centroid, the number of the earlier cluster that it follows."""
        shared = [name for name in self._columns if name in previous.columns]
        if not shared:
            raise ModelError("The clusters cannot be matched", found="no column in common with the earlier ones")
        ours = [self._columns.index(name) for name in shared]
        theirs = [previous.columns.index(name) for name in shared]
        gap = (self._values[:, None, ours] - previous.values[None][:, :, theirs]) / self._scale[ours]
        distances = np.linalg.norm(gap, axis=2)
        nearest = (distances == distances.min(axis=0)) | (distances == distances.min(axis=1, keepdims=True))
        from scipy.optimize import linear_sum_assignment

        # Any other pair costs more than all of these together, so that none is given up for it: a cluster that is
        # gone and a new one elsewhere are two clusters, even where nothing else is left for either.
        mine, earlier = linear_sum_assignment(np.where(nearest, distances, 1 + distances.sum()))
        return {
            row: previous.numbers[other]
            for row, other in zip(mine.tolist(), earlier.tolist(), strict=True)
            if nearest[row, other]
        }

    def _standardised(self, x: FloatArray) -> Floats:
        return np.asarray((np.where(np.isnan(x), self._fill, x) - self._mean) / self._scale, np.float64)

    def _distances(self, z: Floats) -> Floats:
        """(clusters, rows). From differences: the product form loses small distances to cancellation."""
        distances = np.empty((len(self._centres), len(z)))
        for at, centre in enumerate(self._centres):
            gap = z - centre
            distances[at] = np.sqrt(np.einsum("ij,ij->i", gap, gap))
        return distances

    def _check(self, x: FloatArray) -> None:
        if x.ndim != 2 or x.shape[1] != len(self._columns):
            raise ModelError(
                "The matrix does not have the model's features",
                found=f"shape {x.shape}",
                allowed=f"(rows, {len(self._columns)})",
                next_step="score with the contract that is stored with the model",
            )
