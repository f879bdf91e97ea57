"""What `raypipe run` and `raypipe fit` print of a comparison of models, and the code that they end with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from raypipe.cli import output
from raypipe.cli.metrics import METRICS, cell

if TYPE_CHECKING:
    from raypipe.compare.comparison import Compared, Comparison


def show(comparison: Comparison, json: bool) -> None:
    """Prints a comparison.

    Raises:
        typer.Exit: with 1 where a model could not be fitted.
    """
    if json:
        output.emit(comparison.to_json())
    else:
        _print(comparison)
    for model in comparison.failed:
        output.err.print(f"error: {model.name} could not be fitted: {model.error}", style="red", soft_wrap=True)
    if comparison.failed:
        raise typer.Exit(output.FAILED)


def _print(comparison: Comparison) -> None:
    # As it comes out of the database, a comparison has its metrics in another order.
    measured = {name for model in comparison.models for name in model.metrics or ()} | {comparison.metric}
    names = [name for name in dict.fromkeys((comparison.metric, *METRICS)) if name in measured]
    rows = [[model.name, *_metrics(model, names), _seconds(model), _difference(model)] for model in comparison.models]
    where = f"tested on {comparison.rows['test']:,} rows of {comparison.test_date}"
    against = f"champion {comparison.champion}" if comparison.champion else "no champion"
    output.say(
        f"{comparison.pipeline} of {comparison.of}: {against}, fitted on {comparison.rows['train']:,} rows, {where}"
    )
    output.table(("", *names, "seconds", f"{comparison.metric} gained over the champion"), rows)
    for warning in comparison.warnings:
        output.say(f"warning: {warning}")


def _metrics(model: Compared, names: list[str]) -> list[str]:
    if not model.metrics:
        return ["failed", *("" for _ in names[1:])]
    return [cell(model.metrics.get(name), interval=name == names[0], bounds=".4f") for name in names]


def _difference(model: Compared) -> str:
    return cell(model.difference, value="+.4f", bounds="+.4f") if model.difference else ""


def _seconds(model: Compared) -> str:
    return "" if model.seconds is None else f"{model.seconds:.1f}"
