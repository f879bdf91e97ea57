"""Delete rows from a table, by a lightweight deletion where the table allows it."""

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.errors import ServerError

# A lightweight deletion is refused where the table has projections.
SUPPORT_IS_DISABLED = 344


def delete(client: Client, table: str, condition: str, parameters: Parameters | None = None) -> None:
    """Delete the rows of a condition, and return when no reader sees them."""
    try:
        sql, settings = client.topology.delete(table, condition)
        client.run(sql, parameters, settings)
    except ServerError as error:
        if error.code != SUPPORT_IS_DISABLED:
            raise
        sql, settings = client.topology.rewrite(table, condition)
        client.run(sql, parameters, settings)
