"""Fit the parts of a blend on the same splits of rows, and weigh them by the rows held out."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from raypipe.models import linear, settings
from raypipe.models.blend_model import BlendModel, Parts, blended
from raypipe.models.linear import Linear
from raypipe.models.links import linked, losses
from raypipe.models.model import FloatArray, Matrix
from raypipe.models.protocol import FitSpec
from raypipe.models.stacking import Floats, Positions, weigh_needed
from raypipe.models.trees.merged import merged

Splits = Sequence[tuple[Positions, Positions]]


@dataclass(frozen=True)
class Part:
    """A forest or a line, fitted on each split.

    Attributes:
        margins: (held rows, outputs), the raw scores of the rows held out, in the order of the splits.
        trees: XGBoost's documents, one per split; empty for a line.
        line: the average line of the splits; None for a forest.
        rounds: the most rounds of a split.
    """

    margins: Floats
    trees: tuple[Mapping[str, Any], ...] = ()
    line: Linear | None = None
    rounds: int = 0


@dataclass(frozen=True)
class Blended:
    """A weighed blend.

    Attributes:
        margins: (held rows, outputs), its raw scores of the rows held out.
        loss: the mean loss of these rows.
        rounds: the most rounds of a forest.
    """

    model: BlendModel
    margins: Floats
    loss: float
    rounds: int


def forest(xgboost: ModuleType, rows: Matrix, splits: Splits, spec: FitSpec, params: Mapping[str, Any]) -> Part:
    """Fit a forest on each split, stopped early by the rows held out.

    Several splits are fitted at the same time, on one thread each: on few rows, the threads of a single fit would wait
    for each other longer than they compute.

    Args:
        params: all of XGBoost's parameters.
    """
    if len(splits) > 1:
        params = {**params, "nthread": 1}
    threads = params["nthread"] or None

    def fitted(split: tuple[Positions, Positions]) -> tuple[Any, Floats]:
        learn, judge = rows.take(split[0]), rows.take(split[1])
        booster = xgboost.train(
            params,
            xgboost.QuantileDMatrix(learn.x, label=learn.y, max_bin=params.get("max_bin", 256), nthread=threads),
            num_boost_round=spec.rounds,
            evals=[(xgboost.DMatrix(judge.x, label=judge.y, nthread=threads), "held_out")],
            early_stopping_rounds=spec.early_stopping_rounds or None,
            callbacks=_callbacks(xgboost, spec, judge.x),
            verbose_eval=False,
        )
        if spec.early_stopping_rounds:
            booster = booster[: booster.best_iteration + 1]
        return booster, raw_scores(booster, judge.x)

    with ThreadPoolExecutor(min(len(splits), spec.threads or os.cpu_count() or 1)) as pool:
        boosters = list(pool.map(fitted, splits))
    return Part(
        np.concatenate([margins for _, margins in boosters]),
        tuple(json.loads(booster.save_raw("json")) for booster, _ in boosters),
        rounds=max(booster.num_boosted_rounds() for booster, _ in boosters),
    )


def better(
    xgboost: ModuleType,
    rows: Matrix,
    split: tuple[Positions, Positions],
    spec: FitSpec,
    forests: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Return the parameters of the forest that, fitted on a part, loses least on the rows held out."""
    if len(forests) == 1:
        return forests[0]
    fit, held = split
    drawn = np.random.default_rng(spec.seed).choice(fit, min(len(fit), settings.TRIED_ROWS), replace=False)

    def loss(params: Mapping[str, Any]) -> float:
        part = forest(xgboost, rows, [(drawn, held)], spec, params)
        return float(losses(part.margins, rows.y[held], spec.kind).mean())

    return min(forests, key=loss)


def line(rows: Matrix, splits: Splits, spec: FitSpec) -> Part:
    """Fit a line on each split, with the penalty that suits the rows held out best."""
    rng = np.random.default_rng(spec.seed)
    drawn = [rng.permutation(fit)[: settings.LINE_ROWS] for fit, _ in splits]
    blank = linear.unfitted(rows.x[np.unique(np.concatenate(drawn))], max(1, len(spec.classes)))
    prepared = [(blank.standardised(rows.x[fit]), rows.y[fit]) for fit in drawn]
    y = rows.y[np.concatenate([held for _, held in splits])]

    def fitted(penalty: float) -> Part:
        lines = [linear.fitted(blank, z, own, spec.kind, penalty, spec.monotone) for z, own in prepared]
        margins = [own.margins(rows.take(held).x) for own, (_, held) in zip(lines, splits, strict=True)]
        return Part(np.concatenate(margins), line=linear.average(lines))

    return min(map(fitted, settings.PENALTIES), key=lambda part: float(losses(part.margins, y, spec.kind).mean()))


def blend(xgboost: ModuleType, rows: Matrix, splits: Splits, spec: FitSpec, parts: Sequence[Part]) -> Blended:
    """Weigh the parts, and join the forests to one."""
    y, kind = rows.y[np.concatenate([out for _, out in splits])], spec.kind
    weights, bias = np.full(len(parts), 1 / len(parts)), 0.0
    # Weighing would take a balance out again.
    if spec.balance == "none":
        weights, bias = weigh_needed([part.margins for part in parts], y, kind)
    weighed = list(zip(parts, weights.tolist(), strict=True))
    margins = np.full_like(parts[0].margins, bias)
    for part, weight in weighed:
        margins += weight * part.margins
    straight = next((part.line.scaled(weight) for part, weight in weighed if part.line and weight), None)
    parts_beside = Parts(kind, spec.classes, straight, _share(weighed), spec.score_range)
    model = blended(_joined(xgboost, weighed, bias), parts_beside)
    rounds = max(part.rounds for part in parts)
    return Blended(model, margins, float(losses(margins, y, kind).mean()), rounds)


def raw_scores(booster: Any, x: FloatArray) -> Floats:
    """Return a booster's raw scores, (rows, outputs)."""
    margins = booster.inplace_predict(x, predict_type="margin") if len(x) else np.empty((0, 1))
    return np.asarray(margins, np.float64).reshape(len(x), -1)


def _joined(xgboost: ModuleType, weighed: Sequence[tuple[Part, float]], bias: float) -> Any:
    trees = [(tree, weight / len(part.trees)) for part, weight in weighed if weight for tree in part.trees]
    # A blend without trees keeps a forest that adds nothing, as its file needs one.
    documents, weights = zip(*(trees or [(weighed[0][0].trees[0], 0.0)]), strict=True)
    booster = xgboost.Booster()
    booster.load_model(bytearray(json.dumps(merged(documents, weights, bias)).encode()))
    return booster


def _share(weighed: Sequence[tuple[Part, float]]) -> float:
    """Return the line's share of the raw scores' spread."""
    spreads = [(weight * float(part.margins.std(axis=0).sum()), part.line is not None) for part, weight in weighed]
    whole = sum(spread for spread, _ in spreads)
    return sum(spread for spread, straight in spreads if straight) / whole if whole else 0.0


def _callbacks(xgboost: ModuleType, spec: FitSpec, x: FloatArray) -> list[Any]:
    """Return a callback of XGBoost that calls `on_round`, if there is one."""
    if spec.on_round is None:
        return []
    report = spec.on_round

    class RoundReport(xgboost.callback.TrainingCallback):  # type: ignore[misc, name-defined]
        def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
            report(epoch + 1, lambda: np.asarray(linked(raw_scores(model, x), spec.kind), np.float32))
            return False

    return [RoundReport()]
