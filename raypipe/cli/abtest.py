"""Define `raypipe abtest`, and print experiments."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.metrics import UNKNOWN, cell
from raypipe.cli.options import Experiment, Options, command, endpoint_of
from raypipe.clickhouse.client import Client
from raypipe.config.load_experiment import load_experiment

if TYPE_CHECKING:
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
    with (
        endpoint_of(loaded.shared.connection) as endpoint,
        Client(endpoint) as client,
        output.progress() as progress,
    ):
        from raypipe.experiment.abtest import abtest as compared

        result = compared(client, loaded, day, datetime.now(UTC), progress, save=not no_save)
    if not hasattr(result, "value"):
        options.show(result.to_json(), _print, result)
        if result.sample_ratio.mismatch:
            raise typer.Exit(failures.REFUSED)
        return
    options.show(result.to_json(), _print_policy, result)


def _print(result: ExperimentResult) -> None:
    days = f", {result.since} to {result.until}" if result.since else ""
    output.say(
        f"{result.experiment}: {result.units:,} units{days}{f' – {result.description}' if result.description else ''}"
    )
    sizes = [(arm.arm, arm.units, _percent(arm.share), _percent(arm.planned)) for arm in result.arms]
    output.table(("arm", "units", "share", "planned"), sizes)
    ratio = result.sample_ratio
    explained = (
        "chance does NOT explain the sizes of the arms" if ratio.mismatch else "the arms have their planned sizes"
    )
    output.say(f"sample ratio: {explained} (p = {_p(ratio.p_value)})")
    level = f"{result.confidence:.0%} interval, for {result.intervals}"
    rows = [_row(metric, item) for metric in result.metrics for item in metric.comparisons]
    columns = (
        "metric",
        "arm",
        result.control,
        "value",
        f"difference [{level}]",
        "relative",
        "p",
        "verdict",
        "detectable",
    )
    output.table(columns, rows)
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


def _row(metric: MetricResult, item: Comparison) -> tuple[object, ...]:
    return (
        metric.metric,
        item.arm,
        item.control_value,
        item.arm_value,
        cell(vars(item.difference), digits="+.4f"),
        _relative(vars(item.relative)),
        UNKNOWN if item.adjusted is None else _p(item.adjusted),
        item.verdict,
        UNKNOWN if item.detectable is None else f"±{_percent(item.detectable)}",
    )


def _relative(interval: dict[str, Any]) -> str:
    return (
        cell({name: None if value is None else 100 * value for name, value in interval.items()}, digits="+.2f") + " %"
    )


def _percent(share: float) -> str:
    return f"{share:.2%}".replace("%", " %")


def _p(value: float) -> str:
    return f"< {SMALLEST_P}" if value < SMALLEST_P else f"{value:.4f}"
