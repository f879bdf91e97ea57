"""Test fits in this process."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.fit.local import fit_here
from raypipe.models.model import Matrix, Model
from raypipe.models.protocol import FitSpec, History
from raypipe.models.xgboost import XGBoost
from raypipe.progress import silent
from raypipe.testing.model_suite import COLUMNS, rows

FAMILY = "raypipe.models.xgboost:XGBoost"
SPEC = FitSpec(
    COLUMNS,
    params={"objective": "binary:logistic", "max_depth": 3},
    rounds=40,
    early_stopping_rounds=5,
    seed=3,
    threads=1,
    kind="binary",
)
TRAIN, VALIDATION = rows(binary=True), rows(binary=True, seed=2)


class Broken(XGBoost):
    """A family with a fault of its own."""

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[Model, History]:
        raise ZeroDivisionError("division by zero")


def test_a_fit_equals_the_family_on_its_own_and_reports_its_rows() -> None:
    stages: list[tuple[Any, ...]] = []
    fitted = fit_here(FAMILY, SPEC, TRAIN, VALIDATION, lambda *stage: stages.append(stage))
    alone, history = XGBoost().fit(TRAIN, VALIDATION, SPEC)
    scores = XGBoost().from_files(fitted.files).predict(VALIDATION.x)
    assert np.array_equal(scores, alone.predict(VALIDATION.x))
    assert (fitted.history["rows"], fitted.history["rounds"]) == (len(TRAIN), history.rounds)
    assert stages == [("fitting on 600 rows, 600 for validation, 3 features", 0, 0)]


def test_an_error_of_the_family_comes_out_as_it_was_raised() -> None:
    with pytest.raises(ConfigError, match="max_dpeth"):
        fit_here(FAMILY, replace(SPEC, params={**SPEC.params, "max_dpeth": 3}), TRAIN, VALIDATION, silent)


def test_an_error_of_another_kind_keeps_its_cause() -> None:
    with pytest.raises(ModelError, match="ZeroDivisionError: division by zero") as failed:
        fit_here(f"{__name__}:Broken", SPEC, TRAIN, VALIDATION, silent)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("part", ["train", "validation"])
def test_a_label_that_is_not_known_is_refused(part: str) -> None:
    y = TRAIN.y.copy()
    y[3] = np.nan
    parts = {"train": TRAIN, "validation": VALIDATION, part: Matrix(TRAIN.x, y)}
    with pytest.raises(DataError, match=f"The {part} rows have labels that are not numbers") as refused:
        fit_here(FAMILY, SPEC, parts["train"], parts["validation"], silent)
    assert "1 of 600" in str(refused.value)


def test_an_unknown_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="nowhere"):
        fit_here("nowhere:Mine", SPEC, TRAIN, VALIDATION, silent)
