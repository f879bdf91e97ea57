"""The privileges raypipe needs, and which of them the user lacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.ddl import Declaration
from raypipe.clickhouse.statements import identifier
from raypipe.errors import ServerError

# Tables that get rows by plain inserts; a run's predictions come by partition instead.
INSERTED = (
    "ml_model_registry",
    "ml_model_features",
    "ml_model_training_runs",
    "raypipe_runs",
    "raypipe_slices",
    "raypipe_rejected_rows",
    "raypipe_aliases",
)
# Tables without a partition for each day, of which a run deletes what an earlier one of its date has written.
REPLACED = (
    "customer_user_segments",
    "customer_user_segment_assignments",
    "ml_model_ab_tests",
    "ml_model_monitoring",
)
PUBLISHED = ["SELECT", "INSERT", "ALTER DELETE"]
_SCRATCH = ("SELECT", "INSERT", "CREATE TABLE", "DROP TABLE")
# What a run does to the tables that it makes for itself, by the kind in their names.
SCRATCH = {
    "lock": ("CREATE TABLE", "DROP TABLE"),
    "staging": (*_SCRATCH, "ALTER DELETE"),
    "twin": (*_SCRATCH, "ALTER MOVE PARTITION"),
    "explain": _SCRATCH,
    "snapshot": _SCRATCH,
    "training": _SCRATCH,
}
# A twin has its target's engine; a lock is a Null table.
ENGINES = ("MergeTree", "ReplacingMergeTree", "Null")
SYNTAX_ERROR = 62


@dataclass(frozen=True)
class Grant:
    """Privileges on a table, on all tables with a prefix, or on an engine.

    Attributes:
        privileges: such as `ALTER DELETE`.
        on: what a GRANT statement names, such as `database.table` or `database.prefix*`.
        example: one thing that `on` covers, quoted; the server can tell only of such.
    """

    privileges: tuple[str, ...]
    on: str
    example: str

    def __str__(self) -> str:
        return f"{', '.join(self.privileges)} ON {self.on}"


def required(database: str, declarations: Iterable[Declaration], targets: Iterable[str] = ()) -> Iterator[Grant]:
    """Every grant that fitting, scoring and publishing need; creating the schema needs CREATE TABLE besides.

    Args:
        database: where the tables are.
        declarations: the tables that raypipe knows.
        targets: what a pipeline publishes into, tables of the user's own among them.
    """
    known, wanted = set(), set(targets)
    for declaration in declarations:
        known.add(declaration.name)
        privileges = ["SELECT"]
        if declaration.is_published or declaration.name in (*REPLACED, *wanted):
            privileges = PUBLISHED
        elif declaration.name in INSERTED:
            privileges = ["SELECT", "INSERT"]
        yield _grant(privileges, f"{database}.{declaration.name}")
    for target in sorted(wanted - known):
        yield _grant(PUBLISHED, target if "." in target else f"{database}.{target}")
    for kind, scratch in SCRATCH.items():
        prefix = f"{database}.raypipe_{kind}_"
        yield Grant(scratch, f"{prefix}*", identifier(f"{prefix}x"))
    yield _grant(["SELECT"], "system.parts")
    for engine in ENGINES:
        yield _grant(["TABLE ENGINE"], engine)


def _grant(privileges: Sequence[str], on: str) -> Grant:
    return Grant(tuple(privileges), on, identifier(on))


def missing(client: Client, grants: Iterable[Grant]) -> tuple[Grant, ...] | None:
    """The grants, or the parts of them, that the client's user does not have; None where the server cannot tell."""
    try:
        return _missing(client, grants)
    except ServerError as error:
        # CHECK GRANT is younger than the oldest server that raypipe works with.
        if error.code != SYNTAX_ERROR:
            raise
        return None


def _missing(client: Client, grants: Iterable[Grant]) -> tuple[Grant, ...]:
    lacking = []
    for grant in grants:
        absent = () if _has(client, grant) else [name for name in grant.privileges if not _has(client, grant, name)]
        if absent:
            lacking.append(replace(grant, privileges=tuple(absent)))
    return tuple(lacking)


def _has(client: Client, grant: Grant, *privileges: str) -> bool:
    return bool(client.value(f"CHECK GRANT {', '.join(privileges or grant.privileges)} ON {grant.example}"))
