"""Compare the arms of an experiment: sample ratio first, then each metric, then what to do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt

from raypipe.config.experiment import ExperimentConfig, Metric
from raypipe.evaluation.metrics import Interval
from raypipe.experiment import inference, verdicts
from raypipe.experiment.cells import MISSING, WITHOUT_COVARIATE, Cells
from raypipe.experiment.estimates import Estimate, estimates
from raypipe.experiment.inference import EveryLook, OneLook, Rule
from raypipe.experiment.questions import Variables, Window
from raypipe.experiment.result import REFUSED, ArmSize, Comparison, ExperimentResult, MetricResult, SampleRatio
from raypipe.experiment.score import Score

# Below these, chance is no explanation (Fabijan et al. 2019, "Diagnosing sample ratio mismatch", take 0.0005 to 0.01).
MISMATCH = 0.001
UNBALANCED = 0.001
NOTHING = Interval(None, None, None)


@dataclass(frozen=True)
class _Plan:
    """The settings for the comparison of one arm with the control.

    Attributes:
        alpha: the level of the interval, corrected for several arms.
        share: the planned share of the two arms in all units.
        per_day: new units of all arms a day; 0 if unknown.
    """

    rule: Rule
    alpha: float
    level: float
    power: float
    share: float
    per_day: float


def analyse(
    name: str,
    config: ExperimentConfig,
    window: Window,
    cells: Cells,
    variables: Mapping[str, Variables],
    score: Score | None,
) -> ExperimentResult:
    """Return the result of an experiment.

    Raises:
        DataError: a metric has too few values in an arm.
    """
    ratio = _sample_ratio(config, cells)
    warnings = _about_units(config, window, cells)
    metrics = []
    for at, metric in enumerate(config.metrics):
        moments = cells.moments(at, metric, variables[metric.name])
        estimated = estimates(moments, len(variables[metric.name].needed))
        metrics.append(_metric(config, window, cells, at, metric, estimated, score))
        warnings += _about_values(metric, at, cells, estimated, config.arms[0].name)
    planned = config.exposure.until if config.exposure else None
    early = config.looks is None and planned is not None and window.until is not None and window.until < planned
    result = ExperimentResult(
        name,
        config.description,
        config.arms[0].name,
        window.since,
        window.until,
        planned,
        config.confidence,
        "every look" if config.looks else f"one look, on {planned}" if planned else "one look",
        _sizes(config, cells),
        ratio,
        tuple(metrics),
        REFUSED,
        "",
        score.to_json() if score else {},
        tuple(warnings),
    )
    status, decision = verdicts.decide(result, early=early, may_go_on=config.looks is not None)
    return replace(result, status=status, decision=decision)


def _sample_ratio(config: ExperimentConfig, cells: Cells) -> SampleRatio:
    counts = [cells.arms[arm.name].units for arm in config.arms]
    p_value = inference.sample_ratio(counts, [arm.share for arm in config.arms], every_look=config.looks is not None)
    return SampleRatio(p_value, p_value < MISMATCH)


def _sizes(config: ExperimentConfig, cells: Cells) -> tuple[ArmSize, ...]:
    total = sum(units.units for units in cells.arms.values())
    planned = {arm.name: arm.share for arm in config.arms}
    sizes = [
        ArmSize(name, arm.units, arm.units / total, planned[name], arm.first_day, arm.last_day)
        for name, arm in cells.arms.items()
    ]
    return tuple(sizes if config.exposure else [replace(size, first_day=None, last_day=None) for size in sizes])


def _metric(
    config: ExperimentConfig,
    window: Window,
    cells: Cells,
    at: int,
    metric: Metric,
    estimated: Mapping[str, Estimate],
    score: Score | None,
) -> MetricResult:
    control, *others = config.arms
    rivals = len(others)
    compared = []
    for arm in others:
        share = (control.share + arm.share) / sum(item.share for item in config.arms)
        level = 1 - config.confidence
        alpha = level if config.correction == "none" else level / rivals
        rule: Rule = EveryLook(round(config.looks.planned_units * share), alpha) if config.looks else OneLook()
        plan = _Plan(rule, alpha, level, config.power, share, _per_day(window, cells))
        pooled = metric.kind == "proportion" and config.looks is None
        compared.append(_compare(metric, (control.name, arm.name), estimated, plan, pooled=pooled))
    p_values = [1.0 if item.p_value is None else item.p_value for item in compared]
    corrected = inference.adjusted(p_values, config.correction)
    judged = [
        verdicts.judged(item, p, metric, 1 - config.confidence) for item, p in zip(compared, corrected, strict=True)
    ]
    cut = 1 - sum(item.variance for item in estimated.values()) / (
        sum(item.unadjusted for item in estimated.values()) or 1.0
    )
    covariate = metric.covariate or (
        "the metric before" if config.pre_period else score and f"score of {score.pipeline}"
    )
    return MetricResult(
        metric.name,
        metric.kind,
        metric.better,
        {name: item.units for name, item in estimated.items()},
        covariate or "",
        cut if covariate else 0.0,
        cells.missing(at, MISSING),
        tuple(judged),
    )


def _compare(
    metric: Metric, names: tuple[str, str], estimated: Mapping[str, Estimate], plan: _Plan, *, pooled: bool
) -> Comparison:
    control, arm = (estimated[name] for name in names)
    units = control.units + arm.units
    error = sqrt(control.variance + arm.variance)
    difference = arm.value - control.value
    comparison = Comparison(
        names[1],
        names[0],
        arm.value,
        control.value,
        Interval(difference, None, None),
        NOTHING,
        None,
        None,
        None,
        "",
        None,
        None,
        None,
    )
    if error == 0:
        return comparison
    freedom = (
        inf
        if metric.kind == "proportion"
        else inference.freedom([(item.variance, item.units) for item in (control, arm)])
    )
    critical = plan.rule.critical(plan.alpha, units, freedom)
    null_error = _pooled(control, arm) if pooled and control.covariate is None else error
    scale = abs(control.value) if abs(control.value) > critical * sqrt(control.variance) else None
    smallest = inference.detectable(error, units, plan.rule, plan.alpha, plan.power)
    go = _to_go(metric, scale, error, units, plan)
    return replace(
        comparison,
        difference=Interval(difference, difference - critical * error, difference + critical * error),
        relative=_relative(control, arm, critical) if scale else NOTHING,
        statistic=difference / null_error,
        p_value=plan.rule.p_value(difference / null_error, units, freedom),
        detectable=smallest / scale if scale else None,
        units_to_go=go,
        days_to_go=None if go is None or not plan.per_day else ceil(go / plan.per_day),
    )


def _pooled(control: Estimate, arm: Estimate) -> float:
    """Return the standard error of the difference of two shares if they are equal."""
    units = control.units + arm.units
    share = (control.value * control.units + arm.value * arm.units) / units
    return sqrt(share * (1 - share) * (1 / control.units + 1 / arm.units))


def _relative(control: Estimate, arm: Estimate, critical: float) -> Interval:
    """Return the relative difference, with its interval by the delta method."""
    ratio = arm.value / control.value
    half = critical * sqrt(arm.variance + ratio**2 * control.variance) / abs(control.value)
    return Interval(ratio - 1, ratio - 1 - half, ratio - 1 + half)


def _to_go(metric: Metric, scale: float | None, error: float, units: int, plan: _Plan) -> int | None:
    """Return how many units are missing in all arms to find `detect`; None if unset or out of reach."""
    if metric.detect is None or scale is None:
        return None
    wanted = inference.units_for(metric.detect * scale, error, units, plan.rule, plan.alpha, plan.power)
    return None if wanted is None else max(0, ceil((wanted - units) / plan.share))


def _per_day(window: Window, cells: Cells) -> float:
    if window.since is None or window.until is None:
        return 0.0
    first = min(arm.first_day for arm in cells.arms.values())
    days = (window.until - first).days + 1
    return sum(arm.units for arm in cells.arms.values()) / max(days, 1)


def _about_units(config: ExperimentConfig, window: Window, cells: Cells) -> list[str]:
    warnings = []
    if cells.crossed:
        warnings.append(f"{cells.crossed:,} units have rows of several arms and are left out")
    if cells.undeclared:
        warnings.append(f"{cells.undeclared:,} units have an arm that `arms` does not name and are left out")
    newest = max(arm.last_day for arm in cells.arms.values())
    for name, arm in cells.arms.items():
        if (newest - arm.last_day).days > 1:
            warnings.append(
                f"the arm {name} vanished: its last new unit came on {arm.last_day}, others came until {newest}"
            )
    return warnings


def _about_values(metric: Metric, at: int, cells: Cells, estimated: Mapping[str, Estimate], control: str) -> list[str]:
    warnings = []
    missing, without = cells.missing(at, MISSING), cells.missing(at, WITHOUT_COVARIATE)
    if missing:
        warnings.append(f"{metric.name}: {missing:,} units have no finite value and are left out")
    if without:
        warnings.append(f"{metric.name}: {without:,} units have no covariate and get its mean")
    for name in _unbalanced(estimated, control):
        warnings.append(
            f"{metric.name}: the covariate differs between {control} and {name} by more than chance, so it may have"
            " been measured after the exposure"
        )
    return warnings


def _unbalanced(estimated: Mapping[str, Estimate], control: str) -> Sequence[str]:
    base = estimated[control]
    if base.covariate is None:
        return []
    arms = []
    for name, item in estimated.items():
        error = sqrt(item.covariate_variance + base.covariate_variance)
        apart = abs((item.covariate or 0.0) - base.covariate)
        if error > 0 and OneLook().p_value(apart / error, item.units, inf) < UNBALANCED:
            arms.append(name)
    return arms
