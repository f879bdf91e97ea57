"""List the privileges that raypipe needs, and those that the user lacks."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.declarations import Declaration
from raypipe.clickhouse.statements import identifier

# A scoring run records itself in the ledger.
LEDGER = (
    *("raypipe_runs", "raypipe_slices", "raypipe_rejected_rows"),
    *("raypipe_histograms", "raypipe_drift_rows", "raypipe_checks"),
)
# Tables that are filled by plain inserts; a run's predictions are swapped in by partition instead.
INSERTED = (
    *(*LEDGER, "ml_model_registry", "ml_model_features", "ml_model_training_runs"),
    *("raypipe_aliases", "raypipe_alerts"),
)
MONITORING = "ml_model_monitoring"
# Old artifacts are deleted with their versions.
ARTIFACTS = "raypipe_artifacts"
# Tables without a partition per day. A run deletes the rows that an earlier run of its date wrote there.
REPLACED = ("ml_model_ab_tests", MONITORING, "raypipe_performance")
PUBLISHED = ["SELECT", "INSERT", "ALTER DELETE"]
_SCRATCH = ("SELECT", "INSERT", "CREATE TABLE", "DROP TABLE")
TRAINING = "training"
# The privileges on the tables that a run creates for itself, by the kind in their names.
SCRATCH = {
    "lock": ("CREATE TABLE", "DROP TABLE"),
    "staging": (*_SCRATCH, "ALTER DELETE"),
    "portion": _SCRATCH,
    # Features of a day in a monthly partition delete the old day from a copy of the partition.
    "twin": (*_SCRATCH, "ALTER DELETE", "ALTER MOVE PARTITION"),
    "explain": _SCRATCH,
    "snapshot": _SCRATCH,
    TRAINING: _SCRATCH,
    # The committed run's rows, while a later run of the date is swapped in.
    "previous": (*_SCRATCH, "ALTER DELETE"),
}
# Parts show the state of a partition, processes a statement without an answer, mutations the end of a deletion.
SYSTEM = ("parts", "processes", "mutations")
# A twin has its target's engine; a lock is a Null table.
ENGINES = ("MergeTree", "ReplacingMergeTree", "Null")


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
        if declaration.is_published or declaration.name in (*REPLACED, ARTIFACTS, *wanted):
            privileges = PUBLISHED
        elif declaration.name in INSERTED:
            privileges = ["SELECT", "INSERT"]
        yield _grant(privileges, f"{database}.{declaration.name}")
    for table in sorted(wanted.union(read) - known):
        privileges = PUBLISHED if table in wanted else ["SELECT"]
        yield _grant(privileges, table if "." in table else f"{database}.{table}")
    yield from _of_every_run(database, SCRATCH, ENGINES)


def of_scoring(database: str, targets: Iterable[str], engines: Iterable[str]) -> Iterator[Grant]:
    """Yield every grant that a run needs, beside reading its model and its population.

    Args:
        engines: the engines of the targets and of the run's own tables.
    """
    for table in LEDGER:
        yield _grant(["SELECT", "INSERT"], f"{database}.{table}")
    # What was usual, and the columns that matter most.
    for table in ("raypipe_drift", "ml_model_features"):
        yield _grant(["SELECT"], f"{database}.{table}")
    for table in (*targets, MONITORING):
        yield _grant(PUBLISHED, table if "." in table else f"{database}.{table}")
    yield from _of_every_run(database, [kind for kind in SCRATCH if kind != TRAINING], engines)


def of_cluster(database: str) -> Iterator[Grant]:
    """Yield the grants that a cluster needs besides: statements for every node, and looks at every node."""
    yield Grant(("CLUSTER", "REMOTE"), "*.*", "*.*")
    yield Grant(("SYSTEM SYNC REPLICA",), f"{database}.*", f"{identifier(database)}.*")
    for system in ("clusters", "replicas"):
        yield _grant(["SELECT"], f"system.{system}")


def of_shards() -> Iterator[Grant]:
    """Yield the grants that a cluster of several shards needs besides: reads of all shards."""
    yield Grant(("REMOTE",), "*.*", "*.*")
    yield _grant(["SELECT"], "system.clusters")


def _of_every_run(database: str, kinds: Iterable[str], engines: Iterable[str]) -> Iterator[Grant]:
    for kind in kinds:
        prefix = f"{database}.raypipe_{kind}_"
        yield Grant(SCRATCH[kind], f"{prefix}*", identifier(f"{prefix}x"))
    for system in SYSTEM:
        yield _grant(["SELECT"], f"system.{system}")
    for engine in engines:
        yield _grant(["TABLE ENGINE"], engine)


def _grant(privileges: Sequence[str], on: str) -> Grant:
    return Grant(tuple(privileges), on, identifier(on))


def missing(client: Client, grants: Iterable[Grant]) -> tuple[Grant, ...]:
    """Return the privileges that the client's user lacks."""
    wanted = list(grants)
    if _has(client, wanted):
        return ()
    lacking = []
    for grant in wanted:
        if not _has(client, [grant]):
            single = (replace(grant, privileges=(name,)) for name in grant.privileges)
            absent = [name for each in single for name in each.privileges if not _has(client, [each])]
            lacking.append(replace(grant, privileges=tuple(absent)))
    return tuple(lacking)


def _has(client: Client, grants: Iterable[Grant]) -> bool:
    checked = ", ".join(f"{', '.join(grant.privileges)} ON {grant.example}" for grant in grants)
    return bool(client.value(f"CHECK GRANT {checked}"))
