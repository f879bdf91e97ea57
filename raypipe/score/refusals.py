"""Refuse a run whose SQL or targets cannot be used, before it scores."""

from collections.abc import Iterator
from contextlib import contextmanager

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse import twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.server_errors import STATEMENT
from raypipe.clickhouse.statements import Statement
from raypipe.clickhouse.tables import Table
from raypipe.errors import ConfigError, RaypipeError, ServerError, advised
from raypipe.score import current_rows, publish_sql, targets
from raypipe.score.manifest import Manifest, PublishTarget


def refusals(client: Client, uncut: Manifest, target: PublishTarget, statement: Statement) -> Iterator[RaypipeError]:
    """Yield every reason why the run cannot publish to a target, before the run scores for it."""
    try:
        table = twins.require_swappable(client, target.table)
    except ConfigError as error:
        yield error
        return
    yield from targets.refusals(client, uncut, target, table)
    try:
        _require_publishable(client, uncut, target, table, statement)
    except ConfigError as error:
        yield error


def _require_publishable(
    client: Client, uncut: Manifest, target: PublishTarget, table: Table, statement: Statement
) -> None:
    """Refuse a publish statement that cannot run."""
    if target.current is not None:
        current_rows.day_column(table, target)
    source = statement.source
    with advised(f"correct it in {source}"):
        sql = statement.render(**{**publish_sql.fragments(uncut), **publish_sql.stand_ins(uncut)})
    with blamed_on(source, "; it can use a column of features.sql that `carry` in the config names"):
        names = describe_query(client, sql, publish_sql.bound(uncut, ()))
    known = [column.name for column in table.columns]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(
            f"{source} yields columns that its target {table.name} does not have",
            found=", ".join(unknown),
            allowed=", ".join(known),
            next_step=f"rename them in {source}, or add them to {table.name}",
        )


@contextmanager
def blamed_on(source: str, advice: str = ", or the table that it reads") -> Iterator[None]:
    """Turn an error of the SQL itself into an error of its file."""
    try:
        yield
    except ServerError as error:
        if error.code not in STATEMENT:
            raise
        raise ConfigError(
            f"ClickHouse cannot run {source} ({STATEMENT[error.code]})",
            found=error.found,
            next_step=f"correct {source}{advice}",
        ) from error
