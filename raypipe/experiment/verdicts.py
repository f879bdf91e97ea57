"""Put a comparison into words: a verdict on each arm, and what to do."""

from dataclasses import replace

from raypipe.config.experiment import Metric
from raypipe.experiment.result import BETTER, NO_CHANGE, REFUSED, UNDECIDED, WORSE, Comparison, ExperimentResult
from raypipe.registry.ab_tests import DECIDED, RUNNING


def judged(comparison: Comparison, adjusted: float, metric: Metric, alpha: float) -> Comparison:
    """Return the comparison with its corrected p-value and its verdict."""
    if comparison.p_value is None:
        return comparison
    verdict = UNDECIDED
    if adjusted < alpha:
        rises = (comparison.difference.value or 0.0) > 0
        verdict = BETTER if rises == (metric.better == "higher") else WORSE
    elif metric.detect is not None and _excludes(comparison, metric.detect):
        verdict = NO_CHANGE
    return replace(comparison, adjusted=adjusted, verdict=verdict)


def decide(result: ExperimentResult, *, early: bool, may_go_on: bool) -> tuple[str, str]:
    """Return the status of an experiment, and what to do in a sentence.

    Args:
        early: whether the intervals hold for one look on a later day.
        may_go_on: whether the intervals hold at later looks, too.
    """
    if result.sample_ratio.mismatch:
        return REFUSED, (
            "Do not use this result: the sizes of the arms differ from the plan by more than chance"
            f" (p = {result.sample_ratio.p_value:.2g}). Find what lost or added units, and repeat the experiment."
        )
    if early:
        return RUNNING, (
            f"Wait until {result.planned_end}: the intervals hold for one look on that day. Set `looks` before the"
            " first look to decide earlier."
        )
    first = result.metrics[0]
    better = [item for item in first.comparisons if item.verdict == BETTER]
    if better:
        best = max(better, key=lambda item: abs(item.difference.value or 0.0))
        return (
            DECIDED,
            f"Take {best.arm}: {first.metric} is better than with {result.control}.{_harmed(result, best.arm)}",
        )
    if all(item.verdict == WORSE for item in first.comparisons):
        return DECIDED, f"Keep {result.control}: {first.metric} is worse with {_names(first.comparisons)}."
    if all(item.verdict in (WORSE, NO_CHANGE) for item in first.comparisons):
        return DECIDED, f"Keep {result.control}: a change of {first.metric} worth knowing is excluded."
    if all(item.p_value is None for item in first.comparisons):
        return RUNNING, f"Wait: every unit has the same {first.metric}, so there is nothing to compare yet."
    return (RUNNING, _go_on(result)) if may_go_on else (DECIDED, _not_shown(result))


def _excludes(comparison: Comparison, detect: float) -> bool:
    low, high = comparison.relative.low, comparison.relative.high
    return low is not None and high is not None and -detect < low and high < detect


def _harmed(result: ExperimentResult, arm: str) -> str:
    worse = [
        metric.metric
        for metric in result.metrics[1:]
        for item in metric.comparisons
        if item.arm == arm and item.verdict == WORSE
    ]
    return f" But {', '.join(worse)} is worse: decide whether that is acceptable." if worse else ""


def _go_on(result: ExperimentResult) -> str:
    first = result.metrics[0]
    days, units = _missing(result)
    if days or units:
        return f"Go on for about {f'{days:,} more days' if days else f'{units:,} more units'}: {first.metric} is open."
    return f"Go on: {first.metric} is open. With `detect` in the config, raypipe says for how long."


def _not_shown(result: ExperimentResult) -> str:
    first = result.metrics[0]
    _, units = _missing(result)
    more = f" Finding the change of `detect` takes about {result.units + units:,} units in all." if units else ""
    return f"Keep {result.control}: no difference of {first.metric} is shown.{more}"


def _missing(result: ExperimentResult) -> tuple[int, int]:
    """Return the most days and the most units that an undecided arm still needs; 0 if unknown."""
    undecided = [item for item in result.metrics[0].comparisons if item.verdict == UNDECIDED]
    days = max((item.days_to_go or 0 for item in undecided), default=0)
    return days, max((item.units_to_go or 0 for item in undecided), default=0)


def _names(comparisons: tuple[Comparison, ...]) -> str:
    return ", ".join(item.arm for item in comparisons)
