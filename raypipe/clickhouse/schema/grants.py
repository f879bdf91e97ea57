"""List the privileges that raypipe needs, and those that the user lacks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.declarations import Declaration
from raypipe.clickhouse.statements import identifier
from raypipe.errors import ServerError

# Tables that are filled by plain inserts; a run's predictions are swapped in by partition instead.
INSERTED = (
    "ml_model_registry",
    "ml_model_features",
    "ml_model_training_runs",
    "raypipe_runs",
    "raypipe_slices",
    "raypipe_rejected_rows",
    "raypipe_aliases",
)
# Tables without a partition per day. A run deletes the rows that an earlier run of its date wrote there.
REPLACED = ("ml_model_ab_tests", "ml_model_monitoring")
PUBLISHED = ["SELECT", "INSERT", "ALTER DELETE"]
_SCRATCH = ("SELECT", "INSERT", "CREATE TABLE", "DROP TABLE")
# The privileges on the tables that a run creates for itself, by the kind in their names.
SCRATCH = {
    "lock": ("CREATE TABLE", "DROP TABLE"),
    "staging": (*_SCRATCH, "ALTER DELETE"),
    # Features of a day in a monthly partition delete the old day from a copy of the partition.
    "twin": (*_SCRATCH, "ALTER DELETE", "ALTER MOVE PARTITION"),
    "explain": _SCRATCH,
    "snapshot": _SCRATCH,
    "training": _SCRATCH,
    # The committed run's rows, while a later run of the date is swapped in.
    "previous": (*_SCRATCH, "ALTER DELETE"),
}
# Parts show the state of a partition, processes a statement without an answer, mutations the end of a deletion.
SYSTEM = ("parts", "processes", "mutations")
# A twin has its target's engine; a lock is a Null table.
ENGINES = ("MergeTree", "ReplacingMergeTree", "Null")
SYNTAX_ERROR = 62


@dataclass(frozen=True)
class Grant:
    """Privileges on a table, on all tables with a prefix, or on an engine.

    Attributes:
        on: the target of a GRANT statement, such as `database.table` or `database.prefix*`.
        example: one name that `on` covers, quoted; the server can check only a name.
    """

    privileges: tuple[str, ...]
    on: str
    example: str

    def __str__(self) -> str:
        return f"{', '.join(self.privileges)} ON {self.on}"


def required(
    database: str, declarations: Iterable[Declaration], targets: Iterable[str] = (), read: Iterable[str] = ()
) -> Iterator[Grant]:
    """Yield every grant that fitting, scoring and publishing need; creating the schema needs CREATE TABLE, too.

    Args:
        declarations: raypipe's own tables.
        targets: the tables that pipelines publish into, which may be others.
        read: further tables that pipelines read.
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
    for table in sorted(wanted.union(read) - known):
        privileges = PUBLISHED if table in wanted else ["SELECT"]
        yield _grant(privileges, table if "." in table else f"{database}.{table}")
    for kind, scratch in SCRATCH.items():
        prefix = f"{database}.raypipe_{kind}_"
        yield Grant(scratch, f"{prefix}*", identifier(f"{prefix}x"))
    for system in SYSTEM:
        yield _grant(["SELECT"], f"system.{system}")
    for engine in ENGINES:
        yield _grant(["TABLE ENGINE"], engine)


def _grant(privileges: Sequence[str], on: str) -> Grant:
    return Grant(tuple(privileges), on, identifier(on))


def missing(client: Client, grants: Iterable[Grant]) -> tuple[Grant, ...] | None:
    """Return the privileges that the client's user lacks; None where the server cannot tell."""
    lacking = []
    try:
        for grant in grants:
            absent = () if _has(client, grant) else [name for name in grant.privileges if not _has(client, grant, name)]
            if absent:
                lacking.append(replace(grant, privileges=tuple(absent)))
    except ServerError as error:
        # The oldest servers that raypipe works with lack CHECK GRANT.
        if error.code != SYNTAX_ERROR:
            raise
        return None
    return tuple(lacking)


def _has(client: Client, grant: Grant, *privileges: str) -> bool:
    return bool(client.value(f"CHECK GRANT {', '.join(privileges or grant.privileges)} ON {grant.example}"))
