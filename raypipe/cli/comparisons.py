"""Print a comparison of models, and choose the exit code."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from raypipe.cli import failures, output
from raypipe.cli.metrics import METRICS, cell
from raypipe.cli.options import Options

if TYPE_CHECKING:
    from raypipe.compare.comparison import Compared, Comparison


def show(options: Options, comparison: Comparison) -> None:
    """Print a comparison.

    Raises:
        typer.Exit: with 1 where a model could not be fitted.
    """
    options.show(document(comparison), _print, comparison)
    for model in comparison.failed:
        output.tell(f"error: {model.name} could not be fitted: {model.error}", style="red")
    if comparison.failed:
        raise typer.Exit(failures.FAILED)


def document(comparison: Comparison) -> dict[str, Any]:
    """Return the JSON of a comparison."""
    known = comparison.to_json()
    models = [{"model_version": model.pop("version"), **model} for model in known["models"]]
    return {**known, "models": models}


def _print(comparison: Comparison) -> None:
    # A comparison from the database has its metrics in another order.
    measured = {name for model in comparison.models for name in model.metrics or ()} | {comparison.metric}
    names = [name for name in dict.fromkeys((comparison.metric, *METRICS)) if name in measured]
    rows = [[model.name, *_metrics(model, names), *_gain(model)] for model in comparison.models]
    where = f"tested on {comparison.rows['test']:,} rows of {comparison.test_date}"
    against = f"champion {comparison.champion}" if comparison.champion else "no champion"
    output.say(
        f"{comparison.pipeline} of {comparison.of}: {against}, fitted on {comparison.rows['train']:,} rows, {where}"
    )
    output.table(("", *names, "seconds", f"{comparison.metric} gained over the champion"), rows)
    output.warn(comparison.warnings)


def _metrics(model: Compared, names: list[str]) -> list[str]:
    if not model.metrics:
        return ["failed", *("" for _ in names[1:])]
    return [cell(model.metrics.get(name), interval=name == names[0]) for name in names]


def _gain(model: Compared) -> tuple[str, str]:
    seconds = "" if model.seconds is None else f"{model.seconds:.1f}"
    return seconds, cell(model.difference, digits="+.4f") if model.difference else ""
