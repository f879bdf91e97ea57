"""Define `raypipe sql`."""

import re

import typer

from raypipe.cli import output
from raypipe.cli.options import Options, command
from raypipe.clickhouse.statements import without_comments

_YIELDS_ROWS = re.compile(r"[\s(]*(SELECT|WITH|FROM|SHOW|DESCRIBE|DESC|EXPLAIN|EXISTS|CHECK)\b", re.IGNORECASE)


@command()
def sql(options: Options, query: str = typer.Argument(metavar="SELECT", help="The statement, in quotes.")) -> None:
    """Run a statement on the configured ClickHouse and print its rows.

    Example: raypipe sql "SELECT status, count() FROM raypipe_runs FINAL GROUP BY status" --json
    """
    columns: list[str] = []
    rows: list[tuple[object, ...]] = []
    with options.client() as client:
        if _YIELDS_ROWS.match(without_comments(query)):
            columns, rows = client.named_rows(query)
        else:
            # A statement that is repeated after a lost answer could take effect twice.
            client.run(query)
    shown = (output.table, columns, rows) if columns else (output.say, "done")
    options.show({"columns": columns, "rows": rows}, *shown)
