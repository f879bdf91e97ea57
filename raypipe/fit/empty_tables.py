"""Name the empty source tables when a fit has no rows."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from raypipe.clickhouse import tables
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.needed import tables_of
from raypipe.clickhouse.statements import load
from raypipe.errors import DataError, RaypipeError
from raypipe.fit.recipe import Recipe
from raypipe.project import has_sql

# The files of a pipeline's folder that a fit may read.
READ = ("features", "labels", "interactions", "articles")


@contextmanager
def named(client: Client, recipe: Recipe) -> Iterator[None]:
    """Add the empty tables that the recipe's SQL reads to an error about the data."""
    try:
        yield
    except DataError as error:
        empty: list[str] = []
        # A failed look-up must not hide the error of the fit.
        with suppress(RaypipeError):
            empty = _empty(client, recipe)
        if empty:
            tables_found = f"empty: {', '.join(empty)}"
            error.found = tables_found if error.found is None else f"{error.found}; {tables_found}"
            error.next_step = f"fill {' and '.join(empty)}" + (f"; else {error.next_step}" if error.next_step else "")
        raise


def _empty(client: Client, recipe: Recipe) -> list[str]:
    """Return the empty tables in the order of the SQL, without tables that the server does not know."""
    read = tables_read(recipe)
    known = tables.describe_all(client, names=read)
    return [name for name in read if name in known and known[name].total_rows == 0]


def tables_read(recipe: Recipe) -> list[str]:
    """Return the names behind FROM and JOIN in the recipe's SQL, each once, in their order."""
    paths = [path for name in READ if has_sql(path := recipe.folder / f"{name}.sql")]
    return list(dict.fromkeys(name for path in paths for name in tables_of(load(path).text)))
