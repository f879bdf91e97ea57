"""The `raypipe` command."""

from __future__ import annotations

from typing import Annotated

import typer

from raypipe import __version__
from raypipe.cli import (
    data,
    explore,
    features,
    jobs,
    listing,
    models,
    night,
    output,
    reaching,
    scoring,
    sweep,
    validating,
)

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Fit, score and publish models over ClickHouse with Ray, exactly once.\n\n"
    "Begin with `raypipe demo`, then `raypipe run churn`. Exit codes: 0 done, 1 failed, 2 unusable arguments or config,"
    " 3 a gate refused.",
)
for part in (data, explore, features, scoring, sweep, night, validating, reaching, jobs, listing, models):
    app.registered_commands += part.app.registered_commands
    app.registered_groups += part.app.registered_groups


def _version(wanted: bool) -> None:
    if wanted:
        output.say(f"raypipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Runs the command line."""
    app(prog_name="raypipe")
