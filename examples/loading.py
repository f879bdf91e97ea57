"""Load a CSV file into a table of an example, by ordinary means: Arrow reads it, raypipe's client inserts it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.statements import load
from raypipe.clickhouse.tables import describe
from raypipe.config.load import load_shared
from raypipe.errors import DataError, RaypipeError


@dataclass(frozen=True)
class Example:
    """A file and the table that it becomes.

    Attributes:
        folder: the example's folder, with `configs` and `sql/NAME/schema.sql`.
        source: the file, in words.
        columns: the file's columns to read, in order, with their names in the table and their types.
        key: a column to add with the number of the row, from 0 on; None for a file with a key.
        made: returns the rows of an example without a file; None where there is a file.
    """

    folder: Path
    table: str
    source: str
    columns: Mapping[str, tuple[str, pa.DataType]] = field(default_factory=dict)
    key: str | None = None
    made: Callable[[], pa.Table] | None = None

    def read(self, path: Path | None = None) -> pa.Table:
        """Return the rows of the file, or those that the example makes; an empty or blank value becomes NULL.

        Raises:
            DataError: the file is missing or is not the example's.
        """
        table = self.made() if self.made else self._from_file(path)
        if self.key:
            table = table.add_column(0, self.key, pa.array(range(table.num_rows), pa.uint32()))
        return table

    def _from_file(self, path: Path | None) -> pa.Table:
        types = {name: kind for name, (_, kind) in self.columns.items()}
        options = csv.ConvertOptions(
            column_types=types, include_columns=list(self.columns), null_values=["", " "], strings_can_be_null=True
        )
        try:
            table = csv.read_csv(path, convert_options=options)
        except (OSError, pa.ArrowException) as error:
            raise DataError(
                f"{path} cannot be read as {self.source}",
                found=str(error),
                allowed=f"a CSV with the columns {', '.join(self.columns)}",
            ) from error
        return table.rename_columns([name for name, _ in self.columns.values()])

    def fill(self, client: Client, rows: pa.Table, *, replace: bool) -> None:
        """Create the table and insert the rows. With `replace`, drop an existing table first."""
        if replace:
            client.run(f"DROP TABLE IF EXISTS {self.table} SYNC")
        elif describe(client, self.table) is not None:
            raise DataError(
                f"The table {self.table} exists already",
                found=str(client.endpoint),
                next_step="leave it as it is, or drop and load it again with --replace",
            )
        client.run(load(self.folder / "sql" / self.folder.name / "schema.sql").text)
        client.insert(self.table, rows)

    def main(self) -> int:
        """Parse the arguments and load the file. Print an error without a traceback."""
        parser = argparse.ArgumentParser(description=f"Load {self.source} into the table {self.table}.")
        if self.made is None:
            parser.add_argument("path", type=Path, help="the CSV file")
        parser.add_argument(
            "--url", help="URL of ClickHouse; default: RAYPIPE_URL, or the embedded engine in .raypipe/"
        )
        parser.add_argument("--replace", action="store_true", help=f"drop {self.table} first if it exists")
        arguments = parser.parse_args()
        try:
            rows = self.read(getattr(arguments, "path", None))
            connection = load_shared(self.folder / "configs", arguments.url).connection
            with (
                connected(connection.url, connection.password_file, connection.ca_file) as endpoint,
                Client(endpoint) as client,
            ):
                self.fill(client, rows, replace=arguments.replace)
        except RaypipeError as error:
            print(error, file=sys.stderr)
            return error.exit_code
        print(f"{self.table}: {rows.num_rows:,} rows")
        return 0
