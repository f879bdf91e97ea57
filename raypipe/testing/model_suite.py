"""Test a model family of your own: inherit the suite and name the class.

class TestMine(ModelSuite):
    family_path = "mypackage.mymodel:Mine"
    params = {"alpha": 0.1}
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from raypipe.models.model import Matrix, Model
from raypipe.models.protocol import FitSpec, History, MatrixFamily, load_matrix_family

ROWS = 600
COLUMNS = ("signal", "noise", "mostly_missing")

_FITTED: dict[type[ModelSuite], Model] = {}


class ModelSuite:
    """Fit a family once on 600 rows with missing values, and check its model.

    Attributes:
        family_path: the family's dotted path, as in a config.
        params: the parameters of the fit.
        binary: whether the label is 0 or 1, and not a number.
    """

    family_path: ClassVar[str]
    params: ClassVar[Mapping[str, Any]] = {}
    binary: ClassVar[bool] = True

    def spec(self) -> FitSpec:
        """Return the settings of the fit; override it to try others."""
        kind = "binary" if self.binary else "number"
        return FitSpec(COLUMNS, params=self.params, rounds=20, seed=3, threads=1, kind=kind)

    def test_the_config_can_name_the_family(self) -> None:
        family = self.family()
        assert family.framework
        assert family.algorithm
        assert family.format

    def test_a_score_per_row_is_finite_float32(self) -> None:
        scores = self.model().predict(rows(self.binary).x)
        assert scores.shape == (ROWS,)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()

    def test_scores_of_a_binary_label_are_probabilities(self) -> None:
        scores = self.model().predict(rows(self.binary).x)
        assert not self.binary or (scores.min() >= 0 and scores.max() <= 1)

    def test_the_model_learned_the_signal(self) -> None:
        data = rows(self.binary)
        assert np.corrcoef(self.model().predict(data.x), data.y)[0, 1] > 0.3

    def test_missing_values_get_a_score(self) -> None:
        assert np.isfinite(self.model().predict(np.full((3, len(COLUMNS)), np.nan, np.float32))).all()

    def test_no_rows_give_no_scores(self) -> None:
        assert self.model().predict(np.empty((0, len(COLUMNS)), np.float32)).shape == (0,)

    def test_the_model_survives_its_files(self) -> None:
        files = self.model().files()
        again = self.family().from_files(files)
        x = rows(self.binary).x
        assert np.array_equal(again.predict(x), self.model().predict(x))
        assert all(isinstance(name, str) and isinstance(content, bytes) for name, content in files.items())

    def test_the_number_of_threads_does_not_change_scores(self) -> None:
        x = rows(self.binary).x
        single, parallel = self._copy(), self._copy()
        single.set_threads(1)
        parallel.set_threads(2)
        assert np.array_equal(single.predict(x), parallel.predict(x))

    def test_a_row_scores_the_same_in_any_batch(self) -> None:
        x = rows(self.binary).x
        apart = np.concatenate([self.model().predict(x[at : at + 7]) for at in range(0, ROWS, 7)])
        assert np.allclose(apart, self.model().predict(x), atol=1e-6)

    def test_the_same_seed_gives_the_same_scores(self) -> None:
        x = rows(self.binary).x
        assert np.array_equal(self._fit()[0].predict(x), self.model().predict(x))

    def test_importance_is_a_share_per_feature(self) -> None:
        importance = self.model().importance()
        assert importance.shape == (len(COLUMNS),)
        assert (importance >= 0).all()
        assert np.isclose(importance.sum(), 1.0, atol=1e-4)

    def test_the_history_counts_the_rows(self) -> None:
        assert self._fit()[1].rows == ROWS

    def model(self) -> Model:
        """Return the fitted model, which the tests of a class share."""
        suite = type(self)
        if suite not in _FITTED:
            _FITTED[suite] = self._fit()[0]
        return _FITTED[suite]

    def family(self) -> MatrixFamily:
        """Return a new instance of the family."""
        return load_matrix_family(self.family_path)

    def _copy(self) -> Model:
        return self.family().from_files(self.model().files())

    def _fit(self) -> tuple[Model, History]:
        return self.family().fit(rows(self.binary), rows(self.binary, seed=2), self.spec())


def rows(binary: bool, seed: int = 1) -> Matrix:
    """Return 600 rows of three columns: a signal, noise, and a column that is mostly missing."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, len(COLUMNS))).astype(np.float32)
    logit = 2 * x[:, 0]
    x[rng.random(ROWS) < 0.9, 2] = np.nan
    x[rng.random(ROWS) < 0.05, 0] = np.nan
    y = rng.random(ROWS) < 1 / (1 + np.exp(-logit)) if binary else logit
    return Matrix(x, np.asarray(y, np.float32))
