"""Creates the tables that are missing; what exists is never altered, only compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.ddl import Declaration, declared
from raypipe.clickhouse.schema.differences import Difference, compare
from raypipe.clickhouse.schema.version import require_version
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import describe_all
from raypipe.project import shipped

# Every user may use this database, whatever else exists or is granted.
SYSTEM = "system"


@dataclass(frozen=True)
class Report:
    """What a migration did, or what it would do.

    Attributes:
        created: tables and views that were missing; in a plan, those that would be created.
        present: those that stood already.
        differences: how the present ones differ from raypipe's own DDL.
    """

    created: tuple[str, ...]
    present: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def problems(self) -> tuple[Difference, ...]:
        """The differences on which a run would fail."""
        return tuple(difference for difference in self.differences if difference.severity == "problem")


def plan(client: Client, declarations: Sequence[Declaration] | None = None) -> Report:
    """Report what `migrate` would do on the client's database; change nothing."""
    require_version(client)
    declarations = schema() if declarations is None else declarations
    found = describe_all(client, names=[declaration.name for declaration in declarations])
    return Report(
        created=tuple(one.name for one in declarations if one.name not in found),
        present=tuple(one.name for one in declarations if one.name in found),
        differences=tuple(
            difference for one in declarations if one.name in found for difference in compare(found[one.name], one)
        ),
    )


def migrate(client: Client, declarations: Sequence[Declaration] | None = None) -> Report:
    """Create the missing tables and views in the client's database.

    May be repeated and may run twice at once: each statement creates only what is missing.

    Args:
        client: its database is completed.
        declarations: the tables and views that are needed, in the order of their creation; None for all.
    """
    declarations = schema() if declarations is None else declarations
    report = plan(client, declarations)
    for declaration in declarations:
        if declaration.name in report.created:
            client.run(declaration.ddl)
    return report


def plan_at(endpoint: Endpoint, declarations: Sequence[Declaration] | None = None) -> Report:
    """As `plan`, also where the endpoint's database does not exist yet."""
    if not database_exists(endpoint):
        missing = schema() if declarations is None else declarations
        return Report(tuple(declaration.name for declaration in missing), (), ())
    with Client(endpoint) as client:
        return plan(client, declarations)


def migrate_at(endpoint: Endpoint, declarations: Sequence[Declaration] | None = None) -> Report:
    """As `migrate`, after creating the endpoint's database where it is missing."""
    if not database_exists(endpoint):
        with Client(replace(endpoint, database=SYSTEM)) as client:
            require_version(client)
            client.run(f"CREATE DATABASE IF NOT EXISTS {identifier(endpoint.database)}")
    with Client(endpoint) as client:
        return migrate(client, declarations)


def database_exists(endpoint: Endpoint) -> bool:
    """Whether the endpoint's database exists."""
    with Client(replace(endpoint, database=SYSTEM)) as client:
        known = "SELECT count() FROM system.databases WHERE name = {name:String}"
        return bool(client.value(known, {"name": endpoint.database}))


@cache
def schema() -> tuple[Declaration, ...]:
    """The tables and views that raypipe works on, in the order in which they can be created."""
    return declared(_folder())


def _folder() -> Path:
    return shipped() / "sql" / "schema"
