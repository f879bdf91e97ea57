"""Pick the values of a sweep's trials: Optuna's TPE, which learns from the finished trials.

TPE: Bergstra et al. 2011, "Algorithms for Hyper-Parameter Optimization".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from raypipe.errors import ConfigError
from raypipe.registry.trials import FinishedTrial
from raypipe.sweep.plan import SweepPlan
from raypipe.sweep.space import Axis, point_of

STARTUP_TRIALS = 10


def require_optuna() -> Any:
    """Return the module `optuna`, or refuse an installation without it."""
    try:
        import optuna
    except ImportError as error:
        raise ConfigError(
            "A sweep needs Optuna, which is not installed", next_step="pip install 'optuna>=4' (the extra `sweep`)"
        ) from error
    return optuna


def suggester(
    plan: SweepPlan,
    first: Mapping[str, Any] | None,
    finished: Sequence[FinishedTrial] = (),
    unfinished: Sequence[Mapping[str, Any]] = (),
) -> Any:
    """Return Optuna's TPE over the space, which knows the finished trials and begins with the unfinished."""
    optuna = require_optuna()
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known = [point_of(trial.values, plan.axes) for trial in finished]
    waiting = [point_of(values, plan.axes) for values in unfinished]
    if first is not None and first not in [*known, *waiting]:
        waiting.insert(0, dict(first))
    searcher = OptunaSearch(
        {axis.name: _distribution(optuna, axis) for axis in plan.axes},
        metric="metric",
        mode=plan.mode,
        points_to_evaluate=waiting or None,
        sampler=optuna.samplers.TPESampler(
            # With the same seed a resumed sweep would draw its first random points again.
            seed=plan.recipe.shares.seed + len(finished) + len(unfinished),
            n_startup_trials=min(STARTUP_TRIALS, plan.trials // 2),
            # Running trials count as bad, so that concurrent trials differ.
            constant_liar=True,
        ),
    )
    for point, trial in zip(known, finished, strict=True):
        # Optuna needs a number, and ignores the number of a crashed trial.
        searcher.add_evaluated_point(point, trial.result.get("metric", 0.0), error=bool(trial.error))
    return searcher


def _distribution(optuna: Any, axis: Axis) -> Any:
    kinds = optuna.distributions
    if axis.kind == "choice":
        return kinds.CategoricalDistribution(axis.words)
    if axis.kind == "int":
        return kinds.IntDistribution(int(axis.low), int(axis.high), log=axis.log)
    return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)
