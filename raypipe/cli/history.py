"""Define `raypipe models history`."""

from datetime import UTC, datetime

import typer

from raypipe.cli import output
from raypipe.cli.options import Options, Pipeline, command
from raypipe.errors import UsageError
from raypipe.registry import aliases

SHOWN = ("alias", "model_version", "since", "until", "set_by", "reason")


@command()
def history(
    options: Options,
    pipeline: Pipeline,
    at: str | None = typer.Option(None, metavar="TIME", help="Show one moment, by default in UTC: 2026-01-31T04:00."),
    alias: str = typer.Option("", metavar="NAME", help="Show one alias: champion, challenger or previous."),
) -> None:
    """Show which version an alias named when, and why.

    The newest period comes first, with the author of each change. Nothing is ever removed from the history.

    Example: raypipe models history churn --alias champion --at 2026-01-31T04:00
    """
    moment = None if at is None else _parse_time(at)
    with options.client() as client:
        periods = aliases.history(client, pipeline, alias, moment)
    if not periods:
        options.require_pipeline(pipeline)
        if alias and moment is None:
            raise UsageError(
                f"{pipeline} has no alias {alias!r}",
                allowed="champion, challenger or previous, once a version has it",
                next_step=f"`raypipe models history {pipeline}` shows every alias",
            )
    documents = [
        {
            "alias": period.assignment.alias,
            "model_version": period.assignment.version,
            "model_id": period.assignment.model_id,
            "since": period.assignment.set_at,
            "until": period.until,
            "set_by": period.assignment.set_by,
            "reason": period.assignment.reason,
        }
        for period in periods
        if at is None or period.assignment.version
    ]
    # Two changes may fall into one second, and a shown time can be given to --at.
    values = [[document[name] for name in SHOWN] for document in documents]
    rows = [[value.isoformat() if isinstance(value, datetime) else value for value in row] for row in values]
    document = {"pipeline": pipeline, "at": moment, "history": documents}
    options.show(document, output.table, [name.replace("_", " ") for name in SHOWN], rows)


def _parse_time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            "--at is not a time",
            found=text,
            allowed="2026-01-31, 2026-01-31T04:00 or 2026-01-31T04:00:00+01:00",
            next_step="write it in one of these forms, or leave --at out",
        ) from error
