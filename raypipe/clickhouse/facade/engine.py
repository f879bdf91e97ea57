"""chDB, as sessions that run the statements of HTTP requests.

Everything here blocks; the protocol calls it from threads. chDB lets go of Python's lock while it works, so
requests run side by side. A session is one connection: its settings, current database and temporary tables are
nobody else's.

Rows leave through a pipe that the engine itself writes (`INTO OUTFILE`), so every format of ClickHouse comes out as
one valid stream in bounded memory: chDB's own streaming API would hand out one complete file a block.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import chdb

from raypipe.clickhouse.facade.failure import Failure
from raypipe.clickhouse.facade.lexer import Parsed

# The rest of the machine is for Ray's workers and its object store; the default would be nine tenths.
MEMORY_SHARE = 0.5
# Off on a ClickHouse server and on in chDB, where a bare expression would count as a query.
_OPTIONS = f"max_server_memory_usage_to_ram_ratio={MEMORY_SHARE}&implicit_select=0"

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
# The clause at the end of an INSERT, before which the INFILE stands.
_SETTINGS = re.compile(rb"\bSETTINGS\s+[A-Za-z_]\w*\s*=", re.IGNORECASE)
_INPUT = b"_raypipe_input"

Parameters = Mapping[str, str]


@dataclass(frozen=True)
class Counts:
    """What a statement read and wrote."""

    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    seconds: float = 0.0


class Engine:
    """The one chDB of this process.

    Args:
        data: the folder of the database, used by no other process.
    """

    def __init__(self, data: Path) -> None:
        self._connection_string = f"{data}?{_OPTIONS}"
        # chDB shuts down with its last connection.
        self._first = self._connect()
        row = self._first.query("SELECT version(), timezone(), hostName()", "TabSeparated").bytes().decode()
        self.version, self.timezone, self.host = row.rstrip("\n").split("\t")

    def session(self) -> Session:
        """A new session, to be closed by the caller."""
        return Session(self._connect(), self.version)

    def _connect(self) -> Any:
        return chdb.connect(self._connection_string)  # type: ignore[no-untyped-call]

    def kill(self, mark: str = "") -> None:
        """Ends the statements whose text holds `mark`, or all of them, as if they had failed."""
        session = self.session()
        try:
            which = b"position(query, " + _quoted(mark, b"'") + b") > 0" if mark else b"1"
            session.run(b"KILL QUERY WHERE " + which + b" AND NOT startsWith(query, 'KILL') ASYNC", "Null", {})
        finally:
            session.close()

    def close(self) -> None:
        """Shuts the engine down; every session must be closed before."""
        self._first.close()


class Inserter:
    """An INSERT that takes its data piece by piece; nothing is inserted before `finish`.

    The data waits in a file without a name, which the statement then names as its INFILE. chDB's own streaming
    insert reports no error that the table raises (a full disk, too many parts, a constraint): the rows would be lost
    in silence.
    """

    def __init__(self, session: Session, head: bytes, format_name: str) -> None:
        self._session = session
        self._head = head
        self._format = format_name
        self._data = tempfile.TemporaryFile()  # noqa: SIM115 - closed by finish or cancel

    def append(self, piece: bytes) -> None:
        """Hands over the next piece of the data."""
        self._data.write(piece)

    def finish(self) -> Counts:
        """Inserts the rows."""
        with self._data:
            self._data.flush()
            infile = f" FROM INFILE '/dev/fd/{self._data.fileno()}' ".encode()
            settings = _SETTINGS.search(self._head)
            at = settings.start() if settings else len(self._head)
            text = self._head[:at] + infile + self._head[at:] + f"\nFORMAT {self._format}".encode()
            return self._session.run(text, "Null", {})[1]

    def cancel(self) -> None:
        """Gives up: nothing was inserted."""
        self._data.close()


class Session:
    """One connection to the engine. Belongs to one request at a time."""

    def __init__(self, connection: Any, version: str) -> None:
        self.connection = connection
        self._version = version

    def close(self) -> None:
        """Ends the connection, with its temporary tables."""
        self.connection.close()

    @contextmanager
    def failing(self) -> Iterator[None]:
        """Turns chDB's exceptions into failures with ClickHouse's code."""
        try:
            yield
        except (chdb.ChdbError, RuntimeError, ValueError) as error:
            raise Failure.of(str(error), self._version) from error

    def database(self) -> str:
        """The current database."""
        return self.run(b"SELECT currentDatabase()", "TabSeparatedRaw", {})[0].decode().removesuffix("\n")

    def use(self, database: str) -> None:
        """Changes the current database."""
        self.run(b"USE " + _quoted(database, b"`"), "Null", {})

    def set(self, settings: Mapping[str, str]) -> None:
        """Applies settings, all or none."""
        for name in settings:
            if not _SETTING.match(name):
                raise Failure(115, f"Unknown setting '{name}'", "UNKNOWN_SETTING", self._version)
        if settings:
            pairs = b", ".join(name.encode() + b" = " + _quoted(value, b"'") for name, value in settings.items())
            self.run(b"SET " + pairs, "Null", {})

    def reset(self, names: Mapping[str, str]) -> None:
        """Gives settings their defaults again."""
        if names:
            self.run(b"SET " + b", ".join(name.encode() + b" = DEFAULT" for name in names), "Null", {})

    def run(self, statement: bytes, format_name: str, parameters: Parameters) -> tuple[bytes, Counts]:
        """Runs a statement whose result is small, and returns the result."""
        with self.failing():
            result = self.connection.query(statement, format_name, params=dict(parameters))
        return result.bytes(), _counts(result)

    def select(self, query: Parsed, format_name: str, parameters: Parameters, pipe: int, mark: str) -> Counts:
        """Writes a query's rows to a pipe, and returns when all are written.

        When nobody reads them any more the query runs on in vain; `Engine.kill` finds it by its mark.
        """
        outfile = f"\nINTO OUTFILE '/dev/fd/{pipe}' TRUNCATE\nFORMAT {format_name}".encode()
        text = query.head + outfile + query.tail + f"\n/* {mark} */".encode()
        with self.failing():
            result = self.connection.query(text, "TabSeparated", params=dict(parameters))
        return _counts(result)

    def insert(self, head: bytes, format_name: str, parameters: Parameters) -> Inserter:
        """Begins an INSERT of data in a format."""
        # chDB binds no parameters to an insert of data; the session's own serve instead.
        self.set({f"param_{name}": value for name, value in parameters.items()})
        return Inserter(self, head, format_name)

    def stage(self, table: str, structure: bytes, format_name: str) -> Inserter:
        """Begins to fill a new temporary table."""
        name = _quoted(table, b"`")
        self.run(b"CREATE TEMPORARY TABLE " + name + b" (" + structure + b") ENGINE = Memory", "Null", {})
        # An asynchronous insert runs outside of the session, where its temporary tables don't exist.
        return Inserter(self, b"INSERT INTO " + name + b" SETTINGS async_insert = 0", format_name)

    def stage_input(self, statement: Parsed) -> Inserter:
        """Begins to take the data of `INSERT … SELECT … FROM input(…)`; `insert_staged` ends it.

        chDB has no data for `input()` and would insert nothing, in silence.
        """
        assert statement.input is not None
        assert statement.format is not None
        return self.stage(_INPUT.decode(), statement.input.structure, statement.format)

    def insert_staged(self, statement: Parsed, parameters: Parameters) -> Counts:
        """Runs the INSERT … SELECT over the staged data."""
        try:
            return self.run(statement.reading_from(_INPUT), "Null", parameters)[1]
        finally:
            self.drop(_INPUT.decode())

    def drop(self, table: str) -> None:
        """Drops a temporary table."""
        self.run(b"DROP TEMPORARY TABLE IF EXISTS " + _quoted(table, b"`"), "Null", {})


def _counts(result: Any) -> Counts:
    return Counts(
        read_rows=result.storage_rows_read(),
        read_bytes=result.storage_bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
        seconds=result.elapsed(),
    )


def _quoted(text: str, mark: bytes) -> bytes:
    return mark + text.encode().replace(b"\\", b"\\\\").replace(mark, b"\\" + mark) + mark
