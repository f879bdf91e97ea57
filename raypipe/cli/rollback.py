"""Define `raypipe rollback`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

from raypipe.cli import output
from raypipe.cli.options import Options, Pipeline, TakeOver, command
from raypipe.cli.promote import author

if TYPE_CHECKING:
    from raypipe.versions.rollback import RolledBack


@command(reads="rollback")
def rollback(
    options: Options,
    pipeline: Pipeline,
    reason: str = typer.Option("rolled back", metavar="TEXT", help="The reason, for the history."),
    alias_only: bool = typer.Option(False, "--alias-only", help="Leave the published predictions as they are."),
    take_over: TakeOver = False,
) -> None:
    """Restore the previous champion and its published predictions.

    The newest published date, and every date on which the champion replaced the previous version's predictions, are
    scored with the previous version and published as by any run. The aliases move last: until then the champion stays,
    and an interrupted rollback is repeated.

    Example: raypipe rollback churn --reason "scores of new readers are too high"
    """
    options.after_interrupt = f"repeat it while `raypipe models {pipeline}` shows the old champion"
    with options.pipeline(pipeline) as (endpoint, loaded), output.progress() as progress:
        from raypipe.versions.rollback import rollback as roll_back

        started = time.perf_counter()
        result = roll_back(
            endpoint,
            loaded,
            progress,
            reason=reason,
            set_by=author("rollback"),
            predictions=not alias_only,
            take_over=take_over,
        )
        seconds = time.perf_counter() - started
    document = {
        "pipeline": pipeline,
        "model_version": result.version.version,
        "replaced": result.outgoing,
        "reason": result.reason,
        "days": [vars(day) for day in result.days],
        "seconds": round(seconds, 3),
    }
    options.show(document, _print, pipeline, result)


def _print(pipeline: str, result: RolledBack) -> None:
    if result.days:
        columns = [name.replace("_", " ") for name in vars(result.days[0])]
        output.table(columns, [list(vars(day).values()) for day in result.days])
    else:
        output.say("no published predictions to restore")
    output.say(f"{result.version.version} is the champion of {pipeline} again, instead of {result.outgoing}")
