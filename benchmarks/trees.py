"""Compare raypipe's compiled trees with XGBoost's own prediction, by CPU time.

    python benchmarks/trees.py
    python benchmarks/trees.py --rows 50000 --json

Needs no server. benchmarks/README.md defines every number.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import xgboost

from raypipe.models.model import COMPILED, FloatArray, predictor
from raypipe.models.xgboost import XGBoostModel
from raypipe.score.worker import BATCH_ROWS

MODELS = ((100, 4), (100, 6), (300, 8))
COLUMNS, MISSING, FITTED_ROWS = 62, 0.29, 50_000
TOLERANCE = 1e-6

Predict = Callable[[FloatArray], FloatArray]


def rows(count: int, seed: int) -> FloatArray:
    """Return numbers in half of the columns, whole numbers in the others, and missing values in all."""
    random = np.random.default_rng(seed)
    x = random.normal(size=(count, COLUMNS)).astype(np.float32)
    x[:, COLUMNS // 2 :] = np.round(3 * x[:, COLUMNS // 2 :])
    x[random.random(x.shape) < MISSING] = np.nan
    return x


def fitted(trees: int, depth: int) -> Any:
    x = rows(FITTED_ROWS, seed=1)
    random = np.random.default_rng(2)
    signal = np.nansum(x[:, :20] * random.normal(size=20), axis=1) + np.nansum(x[:, 20:40] * x[:, 40:60], axis=1) / 10
    y = random.random(len(x)) < 1 / (1 + np.exp(-signal / 4))
    params = {"max_depth": depth, "objective": "binary:logistic", "eta": 0.1}
    return xgboost.train(params, xgboost.QuantileDMatrix(x, y), trees)


@contextmanager
def clocked(spent: list[tuple[float, float]]) -> Iterator[None]:
    """Add the CPU seconds of the process, and the wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    yield
    spent.append((time.process_time() - cpu, time.perf_counter() - wall))


def in_batches(predict: Predict, x: FloatArray) -> FloatArray:
    return np.concatenate([predict(x[start : start + BATCH_ROWS]) for start in range(0, len(x), BATCH_ROWS)])


def compared(booster: Any, model: XGBoostModel, x: FloatArray, threads: int, repeats: int) -> dict[str, Any]:
    """Measure both predictors on some threads, in turn."""
    booster.set_param({"nthread": threads})
    model.set_threads(threads)
    contenders: dict[str, Predict] = {"xgboost": booster.inplace_predict, "compiled": model.predict}
    expected, scores = (in_batches(predict, x) for predict in contenders.values())
    difference = float(np.abs(scores - expected).max())
    if difference > TOLERANCE:
        sys.exit(f"the predictors differ by up to {difference:.3g}")
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for number in range(repeats):
        for name in list(contenders)[:: 1 if number % 2 else -1]:
            with clocked(spent[name]):
                in_batches(contenders[name], x)
    cpu, wall = (
        {name: statistics.median(item[part] for item in items) for name, items in spent.items()} for part in (0, 1)
    )
    return {
        "threads": threads,
        "ns_per_row": {name: round(seconds / len(x) * 1e9, 1) for name, seconds in cpu.items()},
        "rows_per_second": {name: round(len(x) / seconds) for name, seconds in wall.items()},
        "ratio": round(cpu["xgboost"] / cpu["compiled"], 2),
        "difference": difference,
    }


def measured(trees: int, depth: int, x: FloatArray, threads: list[int], repeats: int) -> dict[str, Any]:
    booster = fitted(trees, depth)
    model = XGBoostModel(booster.copy())
    compiling: list[tuple[float, float]] = []
    with clocked(compiling):
        model.compile()
    if predictor(model) != COMPILED:
        sys.exit("the trees cannot be compiled here; install the extra `xgboost`")
    results = [compared(booster, model, x, count, repeats) for count in threads]
    spent = compiling[0][0]
    return {
        "trees": trees,
        "depth": depth,
        "compile_seconds": round(spent, 3),
        "pays_from": round(spent / results[0]["ns_per_row"]["xgboost"] * 1e9),
        "predictors": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=200_000, help="number of rows to score")
    parser.add_argument("--repeats", type=int, default=3, help="number of rounds")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    x = rows(arguments.rows, seed=0)
    threads = sorted({1, os.cpu_count() or 1})
    found = [measured(trees, depth, x, threads, arguments.repeats) for trees, depth in MODELS]
    for model in found:
        for result in model["predictors"]:
            spent = "  ".join(f"{name} {ns:8.1f} ns" for name, ns in result["ns_per_row"].items())
            shape = f"{model['trees']} × {model['depth']}"
            print(f"{shape:8} {result['threads']} threads  {spent}  ratio {result['ratio']:5.2f}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
