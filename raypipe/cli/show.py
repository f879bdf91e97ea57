"""Define `raypipe show`."""

import typer

from raypipe.cli import output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.options import Date, Limit, Options, Pipeline, command
from raypipe.clickhouse.client import Client
from raypipe.report.published import Published, committed_run, published


@command()
def show(
    options: Options,
    pipeline: Pipeline,
    date: Date = LATEST,
    key: str = typer.Option("", "--key", metavar="KEY", help="Show the rows of this entity alone, such as a user_id."),
    limit: Limit = 20,
) -> None:
    """Show published rows with names in place of ids.

    The rows are those that readers see: of the committed run of the date. The pipeline's report.sql names their brand,
    device, country, category and article; without that file, the brand is named. --json has the ids as well.

    Example: raypipe show churn --date 2026-01-31 --limit 5
    """
    day = parse_date(date)
    with options.pipeline(pipeline, ads=True) as (endpoint, loaded), Client(endpoint) as client:
        found = published(client, loaded, committed_run(client, pipeline, day), key=key, limit=limit)
    document = {"pipeline": pipeline, "date": found.run.date, "run_id": found.run.run_id, "rows": found.to_json()}
    options.show(document, _print, found)


def _print(found: Published) -> None:
    named, run = found.named(), found.run
    names = [name.removesuffix("_name").replace("_", " ") for name in named.columns]
    title = f"{run.pipeline}, {run.date}: {len(named.rows):,} of {run.rows_published:,} published rows"
    output.table(names, named.rows, title)
