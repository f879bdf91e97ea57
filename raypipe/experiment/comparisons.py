"""Compare an arm with the control in one metric: difference, interval, p-value, and what the units suffice for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil, inf, sqrt

from raypipe.config.experiment import Arm, ExperimentConfig, Metric
from raypipe.evaluation.metrics import Interval
from raypipe.experiment import inference, verdicts
from raypipe.experiment.estimates import Estimate
from raypipe.experiment.inference import EveryLook, OneLook, Rule
from raypipe.experiment.result import Comparison


@dataclass(frozen=True)
class Plan:
    """The settings for the comparison of one arm with the control.

    Attributes:
        alpha: the level of the interval, corrected for several arms.
        share: the planned share of the two arms in all units.
        per_day: new units of all arms a day; 0 if unknown.
        pooled: whether the p-value of a share has the variance that both arms have if they are equal.
    """

    rule: Rule
    alpha: float
    power: float
    share: float
    per_day: float
    pooled: bool


def compare_all(
    config: ExperimentConfig, metric: Metric, estimated: Mapping[str, Estimate], per_day: float
) -> tuple[Comparison, ...]:
    """Compare each arm with the control, with p-values corrected for their number."""
    control, *others = config.arms
    compared = [
        compare(metric, control.name, arm.name, estimated, plan_of(config, metric, arm, per_day)) for arm in others
    ]
    p_values = [1.0 if item.p_value is None else item.p_value for item in compared]
    corrected = inference.adjusted(p_values, config.correction)
    alpha = 1 - config.confidence
    return tuple(
        verdicts.judged(item, p_value, metric, alpha) for item, p_value in zip(compared, corrected, strict=True)
    )


def plan_of(config: ExperimentConfig, metric: Metric, arm: Arm, per_day: float) -> Plan:
    """Return the settings for an arm."""
    share = (config.arms[0].share + arm.share) / sum(item.share for item in config.arms)
    rivals = 1 if config.correction == "none" else len(config.arms) - 1
    alpha = (1 - config.confidence) / rivals
    rule: Rule = EveryLook(round(config.looks.planned_units * share), alpha) if config.looks else OneLook()
    pooled = metric.kind == "proportion" and config.looks is None
    return Plan(rule, alpha, config.power, share, per_day, pooled)


def compare(
    metric: Metric, control_name: str, arm_name: str, estimated: Mapping[str, Estimate], plan: Plan
) -> Comparison:
    """Compare an arm with the control; without p-value and intervals where no unit differs from another."""
    control, arm = estimated[control_name], estimated[arm_name]
    difference, error = arm.value - control.value, sqrt(control.variance + arm.variance)
    comparison = Comparison(arm_name, control_name, arm.value, control.value, Interval(difference, None, None))
    if error == 0:
        return comparison
    units, freedom = control.units + arm.units, _freedom(metric, control, arm)
    half = plan.rule.critical(plan.alpha, units, freedom) * error
    z = difference / (_pooled(control, arm) if plan.pooled and control.covariate is None else error)
    tested = replace(
        comparison,
        difference=Interval(difference, difference - half, difference + half),
        statistic=z,
        p_value=plan.rule.p_value(z, units, freedom),
    )
    critical = half / error
    # A share of a value that may be 0 says nothing.
    is_away_from_0 = abs(control.value) > critical * sqrt(control.variance)
    return _with_shares(tested, metric, control, arm, plan, critical) if is_away_from_0 else tested


def _with_shares(
    comparison: Comparison, metric: Metric, control: Estimate, arm: Estimate, plan: Plan, critical: float
) -> Comparison:
    """Add what is told as a share of the control's value."""
    units, error = control.units + arm.units, sqrt(control.variance + arm.variance)
    smallest = inference.detectable(error, units, plan.rule, plan.alpha, plan.power)
    missing = None
    if metric.detect is not None:
        effect = metric.detect * abs(control.value)
        wanted = inference.units_for(effect, error, units, plan.rule, plan.alpha, plan.power)
        missing = None if wanted is None else max(0, ceil((wanted - units) / plan.share))
    return replace(
        comparison,
        relative=_relative(control, arm, critical),
        detectable=smallest / abs(control.value),
        units_to_go=missing,
        days_to_go=None if missing is None or not plan.per_day else ceil(missing / plan.per_day),
    )


def _freedom(metric: Metric, control: Estimate, arm: Estimate) -> float:
    if metric.kind == "proportion":
        return inf
    return inference.freedom([(item.variance, item.units) for item in (control, arm)])


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
