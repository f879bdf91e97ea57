"""Fit straight lines to the measurements and compute the residual of each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Run = dict[str, Any]
MILLION = 1_000_000
# Stages that follow one another and do not involve the actors.
SERIAL = ("start", "gate", "explain", "publish", "around")
COSTS = ("read", "predict", "insert", "busy", "server_busy")
MEMORY = ("driver_mb", "actor_mb", "all_mb", "server_mb")


def of(runs: Sequence[Run], trees: int) -> dict[str, Any]:
    """Return the formula's constants from the runs of one model, over all sizes and numbers of actors.

    Each serial stage, cost and memory figure is `fixed + slope · millions of users`. Scoring is
    `fixed + millions · max(alone / actors, shared)`: `alone` is one actor's seconds per million users, `shared` the
    machine's seconds per million users, whatever the number of actors.
    """
    same = [run for run in runs if run["trees"] == trees and run["features"] is None]
    single = [run for run in same if run["actors"] == 1]
    several = [run for run in same if run["actors"] > 1]
    fixed, alone = _line(single, "score")
    shared = _slope_from(several, "score", fixed)
    score = {"fixed": fixed, "alone": alone, "shared": min(alone, shared)}
    lines = {name: dict(zip(("fixed", "slope"), _line(same, name), strict=True)) for name in (*SERIAL, *COSTS, *MEMORY)}
    made = {"score": score, **lines}
    made["residuals"] = [
        {
            "users": run["users"],
            "actors": run["actors"],
            "seconds": run["seconds"],
            "formula": round(predicted(made, run["users"], run["actors"]), 2),
            "residual": round(run["seconds"] / predicted(made, run["users"], run["actors"]) - 1, 3),
        }
        for run in same
    ]
    return made


def predicted(formula: dict[str, Any], users: int, actors: int) -> float:
    """Return the seconds of a whole `raypipe score` by the formula."""
    millions, score = users / MILLION, formula["score"]
    scoring = score["fixed"] + millions * max(score["alone"] / actors, score["shared"])
    return float(scoring + sum(formula[name]["fixed"] + formula[name]["slope"] * millions for name in SERIAL))


def _line(runs: Sequence[Run], name: str) -> tuple[float, float]:
    """Fit a line by least squares with relative errors, so that small sizes count as well."""
    millions, values = _columns(runs, name)
    weights = 1 / (1 + millions)
    design = np.stack([np.ones_like(millions), millions], axis=1) * weights[:, None]
    (fixed, slope), *_ = np.linalg.lstsq(design, values * weights, rcond=None)
    return round(float(fixed), 4), round(float(slope), 4)


def _slope_from(runs: Sequence[Run], name: str, fixed: float) -> float:
    millions, values = _columns(runs, name)
    if not len(values):
        return 0.0
    weights = 1 / (1 + millions)
    return round(float(np.sum(millions * (values - fixed) * weights**2) / np.sum((millions * weights) ** 2)), 4)


def _columns(runs: Sequence[Run], name: str) -> tuple[Any, Any]:
    return np.array([run["users"] / MILLION for run in runs]), np.array([float(run[name]) for run in runs])


def table(result: dict[str, Any]) -> str:
    """Return the document as a table."""
    formula = result["formula"]
    lines = ["users      actors  trees  features  seconds   start   score    gate explain publish  around  busy server"]
    for run in result["score"]:
        parts = "".join(f"{run[name]:8.2f}" for name in ("start", "score", "gate", "explain", "publish", "around"))
        lines.append(
            f"{run['users']:<10} {run['actors']:6} {run['trees']:6} {run['features'] or 'all':>9}"
            f"{run['seconds']:9.2f}{parts}{run['busy']:7.1f}{run['server_busy']:7.1f}"
        )
    lines += ["", "memory in MB: driver, actor, all processes, server"]
    shown: Callable[[Run], str] = lambda run: "".join(f"{run[name]:9.0f}" for name in MEMORY)  # noqa: E731
    lines += [f"{run['users']:<10} {run['actors']:6}{shown(run)}" for run in result["score"]]
    lines += ["", "rows fitted  trees  features  workers  seconds  all MB"]
    for run in result["fit"]:
        lines.append(
            f"{run['rows']:<12} {run['trees']:5} {run['features'] or 'all':>9} {run['workers']:8}"
            f"{run['seconds']:9.2f}{run['all_mb']:8.0f}"
        )
    lines += ["", f"score: {formula['score']}"]
    lines += [f"{name}: {formula[name]}" for name in (*SERIAL, *COSTS, *MEMORY)]
    lines += ["residuals (measured / formula - 1)"]
    lines += [f"{one['users']:<10} {one['actors']:6}{one['residual']:+9.1%}" for one in formula["residuals"]]
    return "\n".join(lines)
