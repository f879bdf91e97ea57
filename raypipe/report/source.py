"""Ask the report's questions. A question to a table that the database lacks has no rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.clickhouse.tables import describe_all
from raypipe.project import shipped

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Source:
    """The database of a report, and the dates that it covers; both dates are included."""

    client: Client
    first: date
    last: date

    @cached_property
    def tables(self) -> frozenset[str]:
        """Return the names of the database's tables and views."""
        return frozenset(describe_all(self.client))

    def rows(
        self, name: str, needs: str, fragments: Mapping[str, str] | None = None, **parameters: object
    ) -> list[Row]:
        """Return the rows of a file of sql/report as mappings.

        Args:
            needs: the table or view that the file reads.
            fragments: values of the file's placeholders.
        """
        if needs not in self.tables:
            return []
        statement = load(shipped() / "sql" / "report" / f"{name}.sql")
        bound = {key: value for key, value in parameters.items() if key in statement.parameters}
        columns, rows = self.client.named_rows(statement.render(**(fragments or {})), bound)
        return [dict(zip(columns, row, strict=True)) for row in rows]
