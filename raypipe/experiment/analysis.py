"""Compare the arms of an experiment: sample ratio first, then each metric, then what to do."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import inf, sqrt

from raypipe.config.experiment import ExperimentConfig, Metric
from raypipe.experiment import inference, verdicts
from raypipe.experiment.cells import MISSING, WITHOUT_COVARIATE, Cells
from raypipe.experiment.comparisons import compare_all
from raypipe.experiment.estimates import Estimate, estimates
from raypipe.experiment.inference import OneLook
from raypipe.experiment.questions import Variables, Window
from raypipe.experiment.result import REFUSED, ArmSize, ExperimentResult, MetricResult, SampleRatio
from raypipe.experiment.score import Score

# Below these, chance is no explanation (Fabijan et al. 2019, "Diagnosing sample ratio mismatch", take 0.0005 to 0.01).
MISMATCH = 0.001
UNBALANCED = 0.001


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
    metrics, warnings = [], list(_about_units(cells))
    for at, metric in enumerate(config.metrics):
        needed = len(variables[metric.name].needed)
        estimated = estimates(cells.moments(at, metric, variables[metric.name]), needed)
        metrics.append(_metric(config, window, cells, at, metric, estimated))
        warnings += _about_values(config, metric, at, cells, estimated)
    planned = config.exposure.until if config.exposure else None
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
        _sample_ratio(config, cells),
        tuple(metrics),
        REFUSED,
        "",
        score.to_json() if score else {},
        tuple(warnings),
    )
    early = config.looks is None and planned is not None and window.until is not None and window.until < planned
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
) -> MetricResult:
    left = sum(item.variance for item in estimated.values())
    whole = sum(item.unadjusted for item in estimated.values())
    return MetricResult(
        metric.name,
        metric.kind,
        metric.better,
        {name: item.units for name, item in estimated.items()},
        _covariate(config, metric),
        1 - left / whole if whole else 0.0,
        cells.missing(at, MISSING),
        compare_all(config, metric, estimated, _per_day(window, cells)),
    )


def _covariate(config: ExperimentConfig, metric: Metric) -> str:
    """Return the covariate of a metric in words."""
    if metric.covariate:
        return metric.covariate
    return "the metric before" if config.pre_period else f"score of {config.score}" if config.score else ""


def _per_day(window: Window, cells: Cells) -> float:
    if window.since is None or window.until is None:
        return 0.0
    first = min(arm.first_day for arm in cells.arms.values())
    return sum(arm.units for arm in cells.arms.values()) / ((window.until - first).days + 1)


def _about_units(cells: Cells) -> Iterator[str]:
    if cells.crossed:
        yield f"{cells.crossed:,} units have rows of several arms and are left out"
    if cells.undeclared:
        yield f"{cells.undeclared:,} units have an arm that `arms` does not name and are left out"
    newest = max(arm.last_day for arm in cells.arms.values())
    for name, arm in cells.arms.items():
        if (newest - arm.last_day).days > 1:
            yield f"the arm {name} vanished: its last new unit came on {arm.last_day}, others came until {newest}"


def _about_values(
    config: ExperimentConfig, metric: Metric, at: int, cells: Cells, estimated: Mapping[str, Estimate]
) -> Iterator[str]:
    missing, without = cells.missing(at, MISSING), cells.missing(at, WITHOUT_COVARIATE)
    if missing:
        yield f"{metric.name}: {missing:,} units have no finite value and are left out"
    if without:
        yield f"{metric.name}: {without:,} units have no covariate and get its mean"
    control = config.arms[0].name
    for name, item in estimated.items():
        if _is_unbalanced(estimated[control], item):
            yield (
                f"{metric.name}: the covariate differs between {control} and {name} by more than chance, so it may have"
                " been measured after the exposure"
            )


def _is_unbalanced(control: Estimate, arm: Estimate) -> bool:
    error = sqrt(control.covariate_variance + arm.covariate_variance)
    if control.covariate is None or arm.covariate is None or error == 0:
        return False
    return OneLook().p_value((arm.covariate - control.covariate) / error, arm.units, inf) < UNBALANCED
