"""Name the tables that a fit reads as they are now, although its rows are of past dates."""

from raypipe.clickhouse import tables
from raypipe.clickhouse.client import Client
from raypipe.fit.empty_tables import tables_read
from raypipe.fit.recipe import Recipe

# The ledger of runs is read by its dates.
LEDGER = "raypipe_runs"


def read_as_now(client: Client, recipe: Recipe) -> tuple[str, ...]:
    """Return the tables with replaced rows that the SQL of past snapshots reads, in the order of the SQL.

    Such a table keeps the latest state of a row. Its SQL may still be right: where it looks at dates in the row alone,
    as at the beginning of a subscription.
    """
    if all(snapshot.date == recipe.test_date for snapshot in recipe.snapshots):
        return ()
    names = [name for name in tables_read(recipe) if name != LEDGER]
    known = tables.describe_all(client, names=names)
    return tuple(name for name in names if name in known and known[name].engine.endswith("ReplacingMergeTree"))
