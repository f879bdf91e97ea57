"""The views `raypipe_current_*`: of each target, exactly the rows of the committed run of each pipeline and date.

One row of `raypipe_runs` decides for all targets of a run. Whatever else stands in a target (a run that is being
swapped in, one that crashed, one that was superseded) is not shown.
"""

import re
from collections.abc import Iterable

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.declarations import Declaration
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import Table, describe, locate, short_name
from raypipe.errors import ConfigError

PREFIX = "raypipe_current_"
# The rows of a target on all shards, with a column that names the table of each row.
STANDING = "raypipe_standing_"
PLACE = "raypipe_place"
PREVIOUS = "raypipe_previous_"
# Its name is older than the rule.
NAMES = {"ml_model_predictions": "raypipe_current_predictions"}
# The marks of a run in a target, and their values in the ledger. Together they tell the rows of two runs apart.
MARKS = {
    "batch_id": "run.1",
    "created_at": "toDateTime(run.2)",
    "predicted_at": "toDateTime(run.2)",
    "model_version": "run.3",
    "prediction_date": "run.4",
    "assignment_date": "run.4",
}

# One set decides where the committed run of each pipeline and date is read: in the target, or, while a later run is
# swapped in, in the table that keeps its rows. A query reads the set once, so that it sees one state of the ledger.
# Without the setting, it may read the set and the tables as of two times, with a commit in between.
_SQL = """
CREATE VIEW IF NOT EXISTS {view}
AS SELECT {columns}
FROM {rows}
WHERE ({place}, {marks}) {member}
    (
        SELECT {shown}, {values}
        FROM
        (
            SELECT
                maxIf(sequence, status = 'PUBLISHED') AS committed,
                argMaxIf((run_id, started_at, model_version, date), sequence, status = 'PUBLISHED') AS run,
                maxIf(sequence, {kept} != '') AS keeper,
                argMaxIf({kept}, sequence, {kept} != '') AS copy
            FROM raypipe_runs FINAL
            GROUP BY pipeline, date
            HAVING countIf(status = 'PUBLISHED') > 0
        )
    )
SETTINGS enable_shared_storage_snapshot_in_query = 1
"""


def is_marked(table: Table) -> bool:
    """Return whether a table has columns that tell the rows of two runs apart."""
    names = {column.name for column in table.columns}
    # Two runs of one pipeline never begin in the same second; runs of two pipelines may.
    tells = "created_at" in names and names & {"model_version", "prediction_date", "assignment_date"}
    return "batch_id" in names or bool(tells)


def marks(table: Table) -> tuple[str, ...]:
    """Return the columns of a target that together tell a run's rows from another run's.

    Raises:
        ConfigError: the table has no such columns.
    """
    names = [column.name for column in table.columns]
    if not is_marked(table):
        raise ConfigError(
            f"{table.name} has no columns that tell the rows of two runs apart",
            found=", ".join(sorted(names)),
            allowed="batch_id, or created_at with model_version or prediction_date",
            next_step="publish into another table, or add a batch_id column",
        )
    return tuple(column for column in MARKS if column in names)


def compared(table: Table) -> tuple[str, ...]:
    """Return the marks that a target's view compares: the id of a run needs no further mark."""
    columns = marks(table)
    return columns[:1] if columns[0] == "batch_id" else columns


def name(target: str) -> str:
    """Return the name of a target's view."""
    return NAMES.get(target, f"{PREFIX}{flat(target)}")


def previous(target: str, run_id: str, epoch: int) -> str:
    """Return the name of the table that keeps a committed run's rows while an epoch swaps a later run in."""
    return f"{PREVIOUS}{run_id}_e{epoch}_of_{flat(target)}"


def flat(target: str) -> str:
    """Return a target as a part of a table's name."""
    return target.replace(".", "_")


def current_view(table: Table, home: str = "", database: str = "") -> Declaration:
    """Return the view of a target.

    Args:
        home: raypipe's own database, where the target is in another database.
        database: the target's database, if it is another one.

    Raises:
        ConfigError: the table has no columns that tell the rows of two runs apart.
    """
    target = f"{database}.{table.name}" if database else table.name
    databases, place, shown = "currentDatabase()", "_table", f"if(keeper > committed, copy, {literal(table.name)})"
    if database:
        databases = f"REGEXP({literal(f'^({re.escape(home)}|{re.escape(database)})$')})"
        place = f"_database, {place}"
        shown = f"if(keeper > committed, {literal(home)}, {literal(database)}), {shown}"
    return _declared(table, target, _standing(table.name, target, databases), place, shown)


def sharded_rows(table: Table) -> Declaration:
    """Return the view of a shard's rows of a target and its copies, with the table of each row."""
    view = f"{STANDING}{table.name}"
    rows = _standing(table.name, table.name, "currentDatabase()")
    sql = f"CREATE VIEW IF NOT EXISTS {identifier(view)} AS SELECT *, toString(_table) AS {PLACE} FROM {rows}"
    return _view(view, sql)


def sharded_view(table: Table) -> Declaration:
    """Return the view of a target over all shards: the set is made once, and sent to each of them."""
    return _declared(
        table,
        table.name,
        identifier(f"{STANDING}{table.name}"),
        PLACE,
        f"if(keeper > committed, copy, {literal(table.name)})",
        columns=f"* EXCEPT ({PLACE})",
        member="GLOBAL IN",
    )


def _standing(table: str, target: str, databases: str) -> str:
    """Return the expression that reads a target together with the copies of its committed rows."""
    tables = literal(f"^({re.escape(table)}|{PREVIOUS}.*_of_{re.escape(flat(target))})$")
    return f"merge({databases}, {tables})"


def _declared(
    table: Table, target: str, rows: str, place: str, shown: str, *, columns: str = "*", member: str = "IN"
) -> Declaration:
    used = compared(table)
    sql = _SQL.strip().format(
        view=identifier(name(target)),
        columns=columns,
        rows=rows,
        place=place,
        member=member,
        shown=shown,
        marks=", ".join(identifier(column) for column in used),
        values=", ".join(MARKS[column] for column in used),
        kept=f"JSONExtractString(previous, {literal(target)})",
    )
    return _view(name(target), sql)


def _view(view: str, sql: str) -> Declaration:
    return Declaration(Table(view, "View", "View", (), "", (), {}, None), sql, is_published=False)


def create_missing(client: Client, target: str, table: Table) -> str:
    """Create the view of a target that has none, and return its name; '' where nothing was to do."""
    view_name = name(short_name(client, target))
    if describe(client, view_name) is not None:
        return ""
    home, (database, _) = client.endpoint.database, locate(client, target)
    view = current_view(table) if database == home else current_view(table, home, database)
    client.run(client.topology.declared(view.ddl))
    return view_name


def current_views(declarations: Iterable[Declaration]) -> tuple[Declaration, ...]:
    """Return the views of the declared targets; a table without marks is no target of a run."""
    return tuple(
        current_view(declaration.table)
        for declaration in declarations
        if declaration.is_published and is_marked(declaration.table)
    )
