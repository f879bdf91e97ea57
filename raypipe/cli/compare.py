"""Define `raypipe compare`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import typer

from raypipe.cli import output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.metrics import cell
from raypipe.cli.options import AsOf, Options, Pipeline, command

if TYPE_CHECKING:
    from raypipe.compare.configurations import Difference


@command("repeat the command; nothing is kept", reads="compare", fits=True)
def compare(
    options: Options,
    pipeline: Pipeline,
    against: list[str] = typer.Option(..., metavar="KEY=VALUE", help="A value of the other one. May be repeated."),
    as_of: AsOf = LATEST,
) -> None:
    """Compare two configurations of a pipeline on the same test rows.

    Both are fitted on the same training rows: the pipeline's own, and one with the values of --against. The difference
    has the interval of a paired bootstrap; where it is above zero, the pipeline's own is better by more than noise.
    Nothing is registered.

    Example: raypipe compare churn --against "without=[content]"
    """
    day = parse_date(as_of, "--as-of")
    with options.pipeline(pipeline) as (endpoint, loaded):
        other = replace(options, overrides=(*options.overrides, *against)).load(pipeline)
        from raypipe.compare.configurations import compare_with

        with output.progress() as progress:
            difference = compare_with(endpoint, loaded, other, day, progress)
    options.show({**vars(difference), "against": against}, _print, difference, against)


def _print(difference: Difference, against: list[str]) -> None:
    own, other = difference.columns
    rows = [
        ("as configured", own, cell(difference.configured), cell(difference.difference, digits="+.4f")),
        (" ".join(against), other, cell(difference.other), ""),
    ]
    columns = ("", "columns", difference.metric, "gained")
    output.table(columns, rows, f"{difference.pipeline}: {difference.rows:,} test rows of {difference.test_date}")
