"""Score with boosted trees and a linear part, whose raw scores are added."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from raypipe.errors import ModelError
from raypipe.models.checks import require_features, required_file
from raypipe.models.chunks import in_chunks
from raypipe.models.classes import ClassModel
from raypipe.models.linear import Linear
from raypipe.models.links import linked
from raypipe.models.model import COMPILED, LIBRARY, FloatArray, shares
from raypipe.models.trees.compared import Comparison
from raypipe.models.trees.compiled import CompiledTrees
from raypipe.models.trees.forest import Unsuitable, read_forest

log = logging.getLogger(__name__)

TREES, PARTS = "model.ubj", "blend.json"


@dataclass(frozen=True)
class Parts:
    """The description of a blend beside its trees.

    Attributes:
        kind: the label's kind.
        classes: the names of the classes; empty for other labels.
        line: the linear part; None for trees alone.
        share: the linear part's share of the importance.
        score_range: the lowest and the highest number that a score may be; None for any.
    """

    kind: str
    classes: tuple[str, ...] = ()
    line: Linear | None = None
    share: float = 0.0
    score_range: tuple[float, float] | None = None

    def to_json(self) -> bytes:
        """Return the JSON of the artifact."""
        line = self.line.to_json() if self.line else None
        return json.dumps({**vars(self), "line": line}).encode()

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> Parts:
        """Read the description in an artifact's files.

        Raises:
            ModelError: it cannot be read.
        """
        try:
            document = json.loads(required_file(files, PARTS))
            line = Linear.from_json(document["line"]) if document["line"] else None
            limits = document["score_range"] and tuple(map(float, document["score_range"]))
            classes, share = tuple(map(str, document["classes"])), float(document["share"])
            return cls(str(document["kind"]), classes, line, share, limits)
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{PARTS} cannot be read", found=repr(error)) from error


class BlendModel:
    """Score a binary label or a number.

    Args:
        booster: the trees, as a booster of XGBoost; NaN is its missing value.
    """

    def __init__(self, booster: Any, parts: Parts) -> None:
        self._booster = booster
        self._parts = parts
        self._features = int(booster.num_features())
        self._threads = 0
        self._compiled: CompiledTrees | None = None
        self._comparison = Comparison(lambda x: self._by_library(x)[:, 0])

    @property
    def predictor(self) -> str:
        """Return whether XGBoost or its compiled trees answer."""
        return COMPILED if self._compiled else LIBRARY

    def compile(self) -> None:
        """Predict by compiled trees from here on; XGBoost answers for models that these do not cover."""
        try:
            forest = read_forest(json.loads(self._booster.save_raw("json")))
            self._compiled = CompiledTrees(replace(forest, link="identity"))
        except Unsuitable as reason:
            log.info("XGBoost scores, not compiled trees: %s", reason)

    def predict(self, x: FloatArray) -> FloatArray:
        """Return the probability of a positive label (binary), or the expected label (number)."""
        return self._linked(x)

    def explain(self, x: FloatArray) -> FloatArray:
        """Return each feature's part of the raw score: exact SHAP values of the trees plus those of the line."""
        return self._contributions(x)[:, 0]

    def importance(self) -> FloatArray:
        """Return each feature's share of the loss that all splits removed, and of the line's weights."""
        gains = np.zeros(self._features)
        for name, value in self._booster.get_score(importance_type="total_gain").items():
            gains[int(name[1:])] = abs(value)
        parts, line = shares(gains), self._parts.line
        if line is None:
            return parts
        own = shares(np.abs(line.weights).sum(axis=1))
        return shares(np.asarray((1 - self._parts.share) * parts + self._parts.share * own, np.float64))

    def files(self) -> dict[str, bytes]:
        """Return the trees in XGBoost's own portable format, and the rest as JSON."""
        return {TREES: bytes(self._booster.save_raw("ubj")), PARTS: self._parts.to_json()}

    def set_threads(self, threads: int) -> None:
        """Set the threads of `predict`; 0 means all cores."""
        self._threads = threads
        self._booster.set_param({"nthread": threads})

    def _linked(self, x: FloatArray) -> FloatArray:
        """Return probabilities or numbers, (rows,) or (rows, classes); numbers stay inside the label's range."""
        require_features(x, self._features)
        margins = np.empty((0, max(1, len(self._parts.classes))), np.float32)
        if len(x):
            margins = self._tree_margins(x) + self._line_margins(x)
        scores = linked(margins, self._parts.kind)
        if self._parts.score_range:
            scores = np.clip(scores, *self._parts.score_range)
        return np.asarray(scores, np.float32)

    def _tree_margins(self, x: FloatArray) -> FloatArray:
        if self._compiled is None:
            return self._by_library(x)
        margins = self._compiled.predict(x, self._threads)
        self._comparison.check(x, margins)
        return margins[:, None]

    def _line_margins(self, x: FloatArray) -> FloatArray | np.float32:
        line = self._parts.line
        if line is None:
            return np.float32(0)
        margins = np.empty((len(x), len(line.bias)), np.float32)

        def add(rows: slice) -> None:
            margins[rows] = line.margins(x[rows])

        in_chunks(len(x), self._threads, add)
        return margins

    def _by_library(self, x: FloatArray) -> FloatArray:
        margins = self._booster.inplace_predict(x, predict_type="margin")
        return np.asarray(margins, np.float32).reshape(len(x), -1)

    def _contributions(self, x: FloatArray) -> FloatArray:
        """Return the parts of each raw score, (rows, outputs, features)."""
        require_features(x, self._features)
        outputs = max(1, len(self._parts.classes))
        if not len(x):
            return np.empty((0, outputs, self._features), np.float32)
        from xgboost import DMatrix

        values = self._booster.predict(DMatrix(x), pred_contribs=True).reshape(len(x), outputs, -1)[:, :, :-1]
        if self._parts.line is None:
            return np.asarray(values, np.float32)
        straight = self._parts.line.standardised(x)[:, None, :] * self._parts.line.weights.T[None]
        return np.asarray(values + straight, np.float32)


class BlendClasses(ClassModel, BlendModel):
    """Score several classes."""

    def __init__(self, booster: Any, parts: Parts) -> None:
        super().__init__(booster, parts)
        self.classes = parts.classes

    def probabilities(self, x: FloatArray) -> FloatArray:
        """Return the probability of each class, (rows, classes)."""
        return self._linked(x)

    def explain(self, x: FloatArray) -> FloatArray:
        """Return each feature's part of the raw score of the predicted class."""
        predicted = self.probabilities(x).argmax(axis=1)
        own: FloatArray = self._contributions(x)[np.arange(len(x)), predicted]
        return own


def blended(booster: Any, parts: Parts) -> BlendModel:
    """Return the model of the label's kind."""
    return BlendClasses(booster, parts) if parts.kind == "classes" else BlendModel(booster, parts)
