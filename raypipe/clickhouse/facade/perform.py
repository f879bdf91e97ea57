"""One request's statement, performed by the engine. Runs in one thread from beginning to end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from raypipe.clickhouse.facade.engine import Counts, Inserter, Session
from raypipe.clickhouse.facade.failure import Failure
from raypipe.clickhouse.facade.lexer import Kind, Parsed
from raypipe.clickhouse.facade.request import Asked
from raypipe.clickhouse.facade.sessions import Sessions

_READONLY = "readonly"


def refuse(statement: Parsed, *, is_get: bool) -> None:
    """Refuses what ClickHouse's HTTP handler refuses before it runs anything."""
    if statement.kind is Kind.EMPTY:
        raise Failure(62, "Syntax error: failed at position 1 (end of query): empty query", "SYNTAX_ERROR")
    if statement.extra_at is not None:
        at = f"failed at position {statement.extra_at + 1} (end of query)"
        raise Failure(62, f"Syntax error (Multi-statements are not allowed): {at}", "SYNTAX_ERROR")
    if statement.writes_file:
        raise Failure(358, "INTO OUTFILE is not allowed", "INTO_OUTFILE_NOT_ALLOWED")
    if is_get and not statement.reads_only:
        problem = (
            "Cannot execute query in readonly mode. For queries over HTTP, method GET implies readonly. "
            "You should use method POST for modifying queries"
        )
        raise Failure(164, problem, "READONLY")


def select(sessions: Sessions, asked: Asked, statement: Parsed, pipe: int, mark: str) -> Counts:
    """Writes a query's rows to a pipe."""
    with _configured(sessions, asked, statement) as session:
        return session.select(statement, asked.format_of(statement.format), asked.parameters, pipe, mark)


def small(sessions: Sessions, asked: Asked, statement: Parsed) -> tuple[bytes, Counts]:
    """Runs a statement that yields little or nothing."""
    with _configured(sessions, asked, statement) as session:
        text = statement.head + statement.tail
        return session.run(text, asked.format_of(statement.format), asked.parameters)


def insert(sessions: Sessions, asked: Asked, statement: Parsed, data: Iterator[bytes]) -> Counts:
    """Inserts data that arrives piece by piece; what breaks off is cancelled."""
    with _configured(sessions, asked, statement) as session:
        if statement.kind is Kind.INSERT_INPUT:
            _fill(session.stage_input(statement), data)
            return session.insert_staged(statement, asked.parameters)
        return _fill(session.insert(statement.head, statement.format or "Values", asked.parameters), data)


def _fill(inserter: Inserter, data: Iterator[bytes]) -> Counts:
    try:
        for piece in data:
            inserter.append(piece)
        return inserter.finish()
    except BaseException:
        inserter.cancel()
        raise


@contextmanager
def _configured(sessions: Sessions, asked: Asked, statement: Parsed) -> Iterator[Session]:
    """A session with the request's settings, database and tables; a named one is left as it was found."""
    session = sessions.take(asked)
    try:
        before = session.database() if asked.session_id and asked.database else ""
        if asked.database:
            session.use(asked.database)
        # A session that is read-only accepts no further setting.
        session.set({name: value for name, value in asked.settings.items() if name != _READONLY})
        for table in asked.tables:
            _fill(session.stage(table.name, table.structure.encode(), table.format), iter([table.rows]))
        session.set({name: value for name, value in asked.settings.items() if name == _READONLY})
        try:
            yield session
        finally:
            if asked.session_id:
                _restore(session, asked, "" if statement.first == b"USE" else before)
    finally:
        sessions.give_back(asked, session)


def _restore(session: Session, asked: Asked, database: str) -> None:
    session.reset(asked.settings)
    if database:
        session.use(database)
    for table in asked.tables:
        session.drop(table.name)
