"""Count a scoring pass into the fit's bins: the features of a sample, the scores of all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.artifact.bins import Bins, ColumnBins, Counts, count, count_sorted
from raypipe.artifact.contract import Matrix
from raypipe.score.slicers import Slicer

# The features of about so many rows are counted, whatever the population: a share is then right to 0.2 %.
SAMPLED_ROWS = 65_536
# Batches wait for so many sampled rows, or so many scores: one call per feature and small batch would cost more.
WAITING_ROWS, WAITING_SCORES = 16_384, 131_072
# The most values of a slice column that are counted apart.
MOST_VALUES = 100


def stride(rows: int) -> int:
    """Return n for a sample of every n-th row of a population."""
    return max(1, rows // SAMPLED_ROWS)


class Tally:
    """The counts of one attempt at a slice.

    Args:
        every: every n-th row is in the sample.
        slicers: the columns by which the sample is counted as well, in the wide bins.
    """

    def __init__(self, bins: Bins, every: int, slicers: Sequence[Slicer] = ()) -> None:
        self._every = every
        # The sample's score is one more column of the sample.
        columns = (*bins.features, bins.score)
        self._edges = [np.asarray(column.edges, dtype=np.float32) for column in columns]
        self._sample = [np.zeros(len(edges) + 2, np.int64) for edges in self._edges]
        self._scores: Counts = np.zeros(len(bins.score.edges) + 2, np.int64)
        self._slices = [_SliceCounts(slicer, columns) for slicer in slicers]
        self._plain = [slicer.name for slicer in slicers if slicer.is_plain]
        self._seen = 0
        self._reset()

    def _reset(self) -> None:
        self._rows: list[Matrix] = []
        self._batches: list[pa.RecordBatch] = []
        self._sampled_scores: list[npt.NDArray[np.float32]] = []
        self._all_scores: list[npt.NDArray[np.float32]] = []
        self._waiting = self._waiting_scores = 0

    def add(self, batch: pa.RecordBatch, x: Matrix, scores: npt.NDArray[np.float32]) -> None:
        """Add a batch with its matrix (rows, features) and its scores (rows,)."""
        first = -self._seen % self._every
        self._seen += len(x)
        self._rows.append(x[first :: self._every].copy())
        self._sampled_scores.append(scores[first :: self._every])
        self._all_scores.append(scores)
        if self._plain:
            rows = pa.array(np.arange(first, len(x), self._every))
            self._batches.append(batch.select(self._plain).take(rows))
        self._waiting += len(self._rows[-1])
        self._waiting_scores += len(scores)
        if self._waiting >= WAITING_ROWS or self._waiting_scores >= WAITING_SCORES:
            self._count()

    def _count(self) -> None:
        if not self._waiting_scores:
            return
        rows = np.concatenate(self._rows)
        table = pa.Table.from_batches(self._batches) if self._batches else None
        values = np.empty((rows.shape[1] + 1, len(rows)), np.float32)
        values[:-1], values[-1] = rows.T, np.concatenate(self._sampled_scores)
        for item in self._slices:
            item.add(rows, table, values)
        _add(self._sample, values, self._edges)
        self._scores += count(np.concatenate(self._all_scores), self._edges[-1])
        self._reset()

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values: by feature, of the scores, and by slice in the wide bins."""
        self._count()
        return {
            "features": [counts.tolist() for counts in self._sample[:-1]],
            "scores": self._scores.tolist(),
            "slices": {item.slicer.name: item.to_json() for item in self._slices},
        }


def _add(counts: Sequence[Counts], values: npt.NDArray[np.float32], edges: Sequence[npt.NDArray[np.float32]]) -> None:
    """Add the values (columns, rows) to the counts of each column; the values get sorted."""
    values.sort(axis=1)
    missing = np.isnan(values).sum(axis=1).tolist()
    for total, column, cuts, absent in zip(counts, values, edges, missing, strict=True):
        total += count_sorted(column, cuts, absent)


class _SliceCounts:
    """The counts by each value of one slice column; values beyond the first MOST_VALUES are left out."""

    def __init__(self, slicer: Slicer, columns: Sequence[ColumnBins]) -> None:
        self.slicer = slicer
        self._edges = [np.asarray(column.edges, dtype=np.float32)[list(column.wide)] for column in columns]
        self._counts: dict[str, list[Counts]] = {}
        self._left_out = 0

    def add(self, rows: Matrix, table: pa.Table | None, values: npt.NDArray[np.float32]) -> None:
        """Count values (columns, rows) by the slice of each row."""
        words, codes = self.slicer.words(rows, table)
        order = np.argsort(codes, kind="stable")
        ends = np.searchsorted(codes[order], np.arange(len(words) + 1))
        for word, begin, end in zip(words, ends[:-1], ends[1:], strict=True):
            if begin == end:
                continue
            if word not in self._counts and len(self._counts) == MOST_VALUES:
                self._left_out += int(end - begin)
                continue
            totals = self._counts.setdefault(word, [np.zeros(len(cuts) + 2, np.int64) for cuts in self._edges])
            _add(totals, values[:, order[begin:end]], self._edges)

    def to_json(self) -> Mapping[str, Any]:
        """Return the counts by value: of the scores, and of each feature."""
        values = {word: [counts.tolist() for counts in totals] for word, totals in self._counts.items()}
        return {"values": values, "left_out": self._left_out}
