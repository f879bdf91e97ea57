"""Fit the default model: boosted trees and a line, weighed by rows that they did not learn from.

Few rows are cross-validated: each fold's forests stop early on the rows held out, and their average is the forest of
the model. So early stopping costs no rows, and the weights, which also calibrate, come from all of them. Many rows are
judged by the validation rows alone. See docs/decisions/0036-defaults-that-fit-the-data.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raypipe.errors import ConfigError
from raypipe.models import blend_fit, settings
from raypipe.models.blend_model import TREES, BlendModel, Parts, blended
from raypipe.models.checks import require_kind, require_labels, require_training_rows, require_validation_rows
from raypipe.models.links import linked
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec, History, MatrixFamily
from raypipe.models.stacking import folds
from raypipe.models.xgboost import objective_of
from raypipe.models.xgboost_library import library, parameters_must_be_known, read_booster, refusal

METRIC = {"binary": "logloss", "number": "rmse", "classes": "mlogloss"}
# The blend's own parameters; all others are XGBoost's.
LINE, FOLDS = "line", "folds"
# These follow from the label, and the parts have to agree on them.
_DERIVED = ("objective", "num_class", "eval_metric", "booster", "base_score", "scale_pos_weight")


class Blend(MatrixFamily):
    """Boosted trees and a line, whose settings follow from the rows.

    `params` are XGBoost's; one that is named holds for all forests, and null leaves it to the rows. Beside them,
    `line: false` leaves the line out, and `folds` sets the folds of a cross-validation, 0 for none. `rounds` bounds
    the trees of a forest.
    """

    framework = "xgboost"
    algorithm = "boosted trees and a linear model"
    format = "ubj"
    default_rounds = 1000
    scores_without = ("sklearn", "pandas")
    space = settings.SPACE

    def check(self, params: Mapping[str, Any], kind: str) -> None:
        """Refuse parameters that are neither XGBoost's nor the blend's, or that follow from the label.

        Raises:
            ConfigError: names them.
        """
        require_kind("Blend", kind, METRIC)
        own, xgboost = _Own.of(params), library()
        rows = xgboost.DMatrix(np.zeros((2, 1), np.float32), label=[0, 1])
        # An objective may refuse such rows; that says nothing about the names.
        with parameters_must_be_known(xgboost), suppress(xgboost.core.XGBoostError, ValueError, TypeError):
            xgboost.train({**objective_of({}, kind, 2), **own.trees}, rows, num_boost_round=1)

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[BlendModel, History]:
        """Fit in one process.

        Raises:
            ConfigError: a parameter is unknown.
            DataError: there are no rows, no validation rows, or labels of a single class.
            ModelError: XGBoost refused the parameters or the rows.
        """
        require_kind("Blend", spec.kind, METRIC)
        require_training_rows(len(train))
        require_labels(train.y, spec.kind, len(spec.classes))
        own, xgboost, rows = _Own.of(spec.params), library(), train.joined(validation)
        folded = spec.refits and own.folds and len(rows) <= settings.FOLDED_ROWS
        if folded:
            splits = list(folds(rows, spec.kind, own.folds, spec.seed))
        else:
            require_validation_rows(validation)
            splits = [(np.arange(len(train)), np.arange(len(train), len(rows)))]
        learned = len(rows) if folded else len(train)
        fixed = {**_fixed(spec, train), **own.trees}
        chosen = [{**forest, **fixed} for forest in settings.forests(learned, rows.x.shape[1])]
        # Forests that the parameters make equal are one.
        forests = [params for at, params in enumerate(chosen) if params not in chosen[:at]]
        if folded or len(forests) > 1:
            # Rounds of several forests are no rounds of the model.
            spec = replace(spec, on_round=None)
        try:
            with parameters_must_be_known(xgboost):
                if learned > settings.MOST_ROWS:
                    forests = [blend_fit.better(xgboost, rows, splits[0], spec, forests)]
                parts = [blend_fit.forest(xgboost, rows, splits, spec, params) for params in forests]
                if own.line and rows.x.shape[1] <= settings.LINE_COLUMNS and spec.balance == "none":
                    parts.append(blend_fit.line(rows, splits, spec))
                fitted = blend_fit.blend(xgboost, rows, splits, spec, parts)
        except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
            raise refusal("XGBoost refused to fit", error) from error
        held_out = None
        if folded:
            margins = np.empty_like(fitted.margins)
            margins[np.concatenate([out for _, out in splits])] = fitted.margins
            held_out = np.asarray(linked(margins, spec.kind), np.float32)
        return fitted.model, History(learned, fitted.rounds, {"held_out": {"loss": [fitted.loss]}}, held_out)

    def from_files(self, files: Mapping[str, bytes]) -> BlendModel:
        """Load the model; pass verified bytes only, since XGBoost may crash on broken bytes."""
        return blended(read_booster(files, TREES), Parts.from_files(files))


@dataclass(frozen=True)
class _Own:
    """The parameters of a config: the blend's own, and XGBoost's."""

    line: bool
    folds: int
    trees: Mapping[str, Any]

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> _Own:
        params = {name: value for name, value in params.items() if value is not None}
        line, count = params.get(LINE, True), params.get(FOLDS, settings.FOLDS)
        if type(line) is not bool:
            raise ConfigError("model.params.line is not a choice", found=repr(line), allowed="true, false")
        if type(count) is not int or not (count == 0 or 2 <= count <= settings.MOST_FOLDS):
            allowed = f"0, or 2 to {settings.MOST_FOLDS}"
            raise ConfigError("model.params.folds is not a number of folds", found=repr(count), allowed=allowed)
        derived = [name for name in _DERIVED if name in params]
        if derived:
            raise ConfigError(
                "model.params has names that follow from the label",
                found=", ".join(derived),
                next_step="remove them, or set model.class to raypipe.models.xgboost:XGBoost",
            )
        return cls(line, count, {name: value for name, value in params.items() if name not in (LINE, FOLDS)})


def _fixed(spec: FitSpec, train: Matrix) -> dict[str, Any]:
    """Return the parameters of every forest that the label and the fit decide."""
    fixed = {**objective_of({}, spec.kind, len(spec.classes)), "eval_metric": METRIC[spec.kind], "seed": spec.seed}
    fixed["nthread"] = spec.threads
    if any(spec.monotone):
        fixed["monotone_constraints"] = tuple(spec.monotone)
    if spec.balance == "scale_pos_weight":
        positives = float(train.y.sum(dtype=np.float64))
        fixed["scale_pos_weight"] = (len(train) - positives) / positives
    return fixed
