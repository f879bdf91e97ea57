"""Define `raypipe abtest`, and print experiments."""

from __future__ import annotations

from datetime import UTC, datetime
from math import floor, log10
from typing import TYPE_CHECKING, Any

import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.metrics import UNKNOWN, cell
from raypipe.cli.options import Experiment, Options, command, endpoint_of
from raypipe.clickhouse.client import Client
from raypipe.config.experiment import Models
from raypipe.config.load_experiment import LoadedExperiment, load_experiment

if TYPE_CHECKING:
    from raypipe.experiment.models import ModelsResult
    from raypipe.experiment.policy import PolicyResult
    from raypipe.experiment.result import Comparison, ExperimentResult, MetricResult

# A p-value below this has no digits that matter.
SMALLEST_P = 0.0001


@command()
def abtest(
    options: Options,
    name: Experiment,
    until: str = typer.Option(LATEST, metavar="DATE", help="The last day to count: YYYY-MM-DD, or latest."),
    no_save: bool = typer.Option(False, "--no-save", help="Show the result without writing ml_model_ab_tests."),
) -> None:
    """Compare the arms of an experiment over any table.

    configs/experiments/NAME.yaml names the table, the unit that was randomised, the column of the arm, the planned
    shares and the metrics: a proportion, a mean, or a ratio of two sums. ClickHouse adds up everything in one
    statement, so the size of the table costs Python nothing.

    First the sizes of the arms are compared with the plan. If chance does not explain them, no arm is recommended
    (exit 3): something lost or added units, and the metrics would mislead. Then each metric is shown with its
    interval, absolute and relative, with a verdict and the smallest change that the units suffice for. The last line
    says what to do.

    An interval holds for one look at the planned end. With `looks` it holds at every look, so that you may look daily
    and stop at any time; it is wider for that. `pre_period`, `score` and `covariate` make intervals narrower by what
    was known of a unit before.

    Example: raypipe abtest headline --until 2026-01-31
    """
    loaded = load_experiment(name, options.config, options.url)
    day = parse_date(until, "--until")
    if loaded.config.models:
        _compare_models(options, loaded, loaded.config.models, save=not no_save)
        return
    with (
        endpoint_of(loaded.shared.connection) as endpoint,
        Client(endpoint) as client,
        output.progress() as progress,
    ):
        from raypipe.experiment.abtest import abtest as analysed
        from raypipe.experiment.policy import PolicyResult

        result = analysed(client, loaded, day, datetime.now(UTC), progress, save=not no_save)
    if isinstance(result, PolicyResult):
        options.show(result.to_json(), _print_policy, result)
        return
    options.show(result.to_json(), _print, result)
    if result.sample_ratio.mismatch:
        raise typer.Exit(failures.REFUSED)


def _compare_models(options: Options, loaded: LoadedExperiment, settings: Models, *, save: bool) -> None:
    with options.pipeline(settings.pipeline) as (endpoint, pipeline), Client(endpoint) as client:
        from raypipe.experiment.abtest import compare_models

        result = compare_models(client, loaded, settings, pipeline, datetime.now(UTC), save=save)
    options.show(result.to_json(), _print_models, result)


def _print(result: ExperimentResult) -> None:
    days = f", {result.since} to {result.until}" if result.since else ""
    output.say(
        f"{result.experiment}: {result.units:,} units{days}{f' – {result.description}' if result.description else ''}"
    )
    sizes = [(arm.arm, arm.units, _percent(arm.share), _percent(arm.planned)) for arm in result.arms]
    output.table(("arm", "units", "share", "planned"), sizes)
    ratio = result.sample_ratio
    explained = (
        "chance does NOT explain the sizes of the arms" if ratio.mismatch else "chance explains the sizes of the arms"
    )
    output.say(f"sample ratio: {explained} (p = {_p(ratio.p_value)})")
    columns = ("metric", "arm", result.control, "value", "difference", "relative", "p", "verdict", "detectable")
    rows = [_row(metric, item) for metric in result.metrics for item in metric.comparisons]
    output.table(columns, rows, f"{result.confidence:.0%} intervals, for {result.intervals}")
    for metric in result.metrics:
        if metric.covariate:
            output.say(
                f"{metric.metric}: {metric.covariate} takes {_percent(metric.variance_cut)} of the variance away"
            )
    output.warn(result.warnings)
    output.say(result.decision)


def _print_policy(result: PolicyResult) -> None:
    value = result.value
    days = f", {result.window.since} to {result.window.until}" if result.window.since else ""
    output.say(
        f"{result.experiment}: {value.impressions:,} logged actions{days}, {value.effective:,.0f} effective, in"
        f" {result.contexts:,} contexts"
    )
    lines = {
        "logged actions": value.logging,
        "policy, IPS": value.ips,
        "policy, SNIPS": value.snips,
        "policy, doubly robust": value.robust,
        "difference, SNIPS": value.gain,
    }
    output.table(
        ("", "reward per action [95% interval]"),
        [(name, cell(vars(estimate), digits="+.5f")) for name, estimate in lines.items()],
    )
    output.warn(result.warnings)
    output.say(result.decision)


def _print_models(result: ModelsResult) -> None:
    evidence, decision = result.evidence, result.evidence.decision
    rows = [
        ("control", result.control.version, evidence.champion),
        ("treatment", result.treatment.version, evidence.challenger),
    ]
    title = f"{result.experiment}: {evidence.rows:,} labelled rows of {evidence.test_date}"
    output.table(("", "version", decision.metric), rows, title)
    gain = {"value": decision.difference, "low": decision.low, "high": decision.high}
    output.say(f"gain of the treatment, with its 95 % interval: {cell(gain, digits='+.4f')}")
    output.say(result.decision)


def _row(metric: MetricResult, item: Comparison) -> tuple[object, ...]:
    digits = _digits(item)
    return (
        metric.metric,
        item.arm,
        f"{item.control_value:.{digits}f}",
        f"{item.arm_value:.{digits}f}",
        cell(vars(item.difference), digits=f"+.{digits}f"),
        _relative(vars(item.relative)),
        UNKNOWN if item.adjusted is None else _p(item.adjusted),
        item.verdict,
        UNKNOWN if item.detectable is None else f"±{_percent(item.detectable)}",
    )


def _digits(item: Comparison) -> int:
    """Return the decimals that show three digits of the interval's width."""
    low, high = item.difference.low, item.difference.high
    return 4 if low is None or high is None else max(0, 2 - floor(log10(high - low)))


def _relative(interval: dict[str, Any]) -> str:
    if interval["value"] is None:
        return UNKNOWN
    percent = {name: None if value is None else 100 * value for name, value in interval.items()}
    return f"{cell(percent, digits='+.2f')} %"


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def _p(value: float) -> str:
    return f"< {SMALLEST_P}" if value < SMALLEST_P else f"{value:.4f}"
