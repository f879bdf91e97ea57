"""Check an experiment's expressions against its table, before any row is read."""

import re
from collections.abc import Mapping

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.column_types import bare
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.server_errors import STATEMENT
from raypipe.clickhouse.statements import identifier
from raypipe.errors import ConfigError, ServerError

_COLUMN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_NUMBER = re.compile(r"(U?Int|Float|Decimal|BFloat)\d*|Bool|Nothing")
_TIME = re.compile(r"Date(32|Time|Time64)?\b")
LISTED = 12


def expression(text: str) -> str:
    """Return a column's quoted name, or an expression in parentheses."""
    return identifier(text) if _COLUMN.match(text) else f"({text})"


def types(client: Client, source: str, expressions: Mapping[str, str], parameters: Parameters) -> dict[str, str]:
    """Return the ClickHouse type of each expression, without LowCardinality and Nullable.

    Args:
        source: what stands behind FROM.
        expressions: SQL by the config key that states it.

    Raises:
        ConfigError: the source has no such column, or an expression is not valid SQL; the message names the key.
    """
    _described(client, source, {"table": "1"}, parameters)
    try:
        known = _described(client, source, expressions, parameters)
    except ConfigError:
        # The server names one fault of the statement; the user wants the key that holds it.
        for key, sql in expressions.items():
            _described(client, source, {key: sql}, parameters)
        raise
    return {key: bare(kind) for key, kind in known.items()}


def require_number(key: str, kind: str) -> None:
    """Refuse an expression whose type is not a number."""
    if not _NUMBER.match(kind):
        raise ConfigError(
            f"{key} is not a number",
            found=f"the type {kind}",
            allowed="a number, or a condition such as outcome = 'bought'",
            next_step="write it as an expression that yields a number",
        )


def require_time(key: str, kind: str) -> None:
    """Refuse an expression whose type is not a date or a time."""
    if not _TIME.match(kind):
        raise ConfigError(
            f"{key} is not a time",
            found=f"the type {kind}",
            allowed="Date, Date32, DateTime or DateTime64",
            next_step=f"convert it, such as parseDateTimeBestEffort({key.rpartition('.')[2]})",
        )


def _described(client: Client, source: str, expressions: Mapping[str, str], parameters: Parameters) -> dict[str, str]:
    columns = ", ".join(f"{sql} AS raypipe_{number}" for number, sql in enumerate(expressions.values()))
    try:
        rows = client.rows(f"DESCRIBE TABLE (\nSELECT {columns} FROM {source}\n)", parameters)
    except ServerError as error:
        if error.code not in STATEMENT:
            raise
        raise ConfigError(
            f"{', '.join(expressions)} cannot be read",
            found=error.found,
            allowed=_columns(client, source, parameters),
            next_step="correct the experiment's config",
        ) from error
    return dict(zip(expressions, (row[1] for row in rows), strict=True))


def _columns(client: Client, source: str, parameters: Parameters) -> str | None:
    """Return the source's columns in words; None where the source itself cannot be read."""
    try:
        names = [row[0] for row in client.rows(f"DESCRIBE TABLE (\nSELECT * FROM {source}\n)", parameters)]
    except ServerError:
        return None
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"the columns {', '.join(names[:LISTED])}{more}"
