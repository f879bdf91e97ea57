"""Test that a segment may have a single reader, who is far from all others."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from raypipe.models.model import Matrix, Rows
from raypipe.models.protocol import FitSpec
from raypipe.segment.kmeans import KMeans


def test_a_reader_far_from_all_others_is_a_segment_of_one_with_a_usable_score() -> None:
    x = np.random.default_rng(1).normal(size=(300, 3)).astype(np.float32)
    x[7] = 1000
    rows = Matrix(x, np.zeros(300, np.float32))
    spec = FitSpec(("a", "b", "c"), params={"clusters": 2}, kind="none")
    model, _ = KMeans().fit(rows, rows, spec)
    answer = model.answer(Rows(x, {}, datetime(2026, 1, 31, tzinfo=UTC)))
    clusters = np.asarray(answer.columns["cluster"])
    assert np.flatnonzero(clusters == clusters[7]).tolist() == [7]
    assert ((answer.scores >= 0) & (answer.scores <= 1)).all()
    again = KMeans().from_files(model.files())
    assert np.array_equal(again.predict(x), answer.scores)
