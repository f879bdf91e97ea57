"""Create the tables that are missing; existing tables are compared and never altered."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

from raypipe.clickhouse import cluster_checks, node_tables, nodes
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.current_views import create_missing, current_views, is_marked
from raypipe.clickhouse.schema.declarations import Declaration, declared
from raypipe.clickhouse.schema.differences import Difference, compare
from raypipe.clickhouse.schema.sharded import databases
from raypipe.clickhouse.schema.version import require_version
from raypipe.clickhouse.statements import identifier
from raypipe.clickhouse.tables import Table, describe, describe_all
from raypipe.project import shipped

# Every user may use this database, whatever else exists or is granted.
SYSTEM = "system"


@dataclass(frozen=True)
class Migration:
    """The changes of a migration, done or planned.

    Attributes:
        created: tables and views that were missing; in a plan, those that would be created.
        present: tables and views that existed before.
        differences: between the existing tables and raypipe's own DDL.
    """

    created: tuple[str, ...]
    present: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def problems(self) -> tuple[Difference, ...]:
        """Return the differences on which a run would fail."""
        return tuple(difference for difference in self.differences if difference.severity == "problem")


def plan(client: Client, declarations: Sequence[Declaration] | None = None) -> Migration:
    """Plan what `migrate` would do on the client's database; changes nothing."""
    if client.endpoint.sharding:
        return plan_at(client.endpoint, declarations)
    require_version(client)
    wanted = {declaration.name: declaration for declaration in (schema() if declarations is None else declarations)}
    tables = describe_all(client, names=list(wanted))
    present = tuple(name for name in wanted if name in tables)
    compared = [item for name in present for item in compare(tables[name], wanted[name])]
    apart = list(_apart(client, tables))
    # A table that another node has would get another path in Keeper here.
    elsewhere = {item.table for item in apart}
    return Migration(
        created=tuple(name for name in wanted if name not in tables and name not in elsewhere),
        present=present,
        differences=(*compared, *apart),
    )


def _apart(client: Client, tables: Mapping[str, Table]) -> Iterator[Difference]:
    """Yield the differences between the nodes of a cluster, and the tables that are not replicated."""
    shards = [node.shard for node in nodes.listed(client)]
    if len(set(shards)) < len(shards):
        for name, table in tables.items():
            if table.engine.endswith("MergeTree") and not table.engine.startswith(("Replicated", "Shared")):
                consequence = "each node of the cluster has rows of its own"
                yield Difference(name, "engine", table.engine, f"Replicated{table.engine}", "problem", consequence)
    for item in node_tables.differences(client):
        consequence = "a run would read and write other tables there"
        yield Difference(item.table, f"{item.what} on {item.node}", item.there, item.here, "problem", consequence)


def migrate(
    client: Client, declarations: Sequence[Declaration] | None = None, targets: Sequence[str] = ()
) -> Migration:
    """Create the missing tables and views in the client's database.

    Each statement creates only a missing table, so this may be repeated and may run twice at once.

    Args:
        declarations: the tables and views that are needed, in the order of their creation; None for all.
        targets: other tables that pipelines publish into; those that exist get their views.
    """
    if client.endpoint.sharding:
        return migrate_at(client.endpoint, declarations)
    declarations = schema() if declarations is None else declarations
    report = plan(client, declarations)
    for declaration in declarations:
        if declaration.name in report.created:
            client.run(client.topology.declared(declaration.ddl))
    described = {target: table for target in targets if (table := describe(client, target)) and is_marked(table)}
    views = [create_missing(client, target, table) for target, table in described.items()]
    return replace(report, created=(*report.created, *filter(None, views)))


def plan_at(endpoint: Endpoint, declarations: Sequence[Declaration] | None = None) -> Migration:
    """Plan as `plan` does, also where the endpoint's database does not exist yet."""
    if endpoint.sharding:
        wanted = databases(endpoint.sharding, schema() if declarations is None else declarations)
        return _together([_of_node(place, plan_at(place, tables)) for place, tables in wanted])
    if not database_exists(endpoint):
        missing = schema() if declarations is None else declarations
        return Migration(tuple(declaration.name for declaration in missing), (), ())
    with Client(endpoint) as client:
        return plan(client, declarations)


def migrate_at(
    endpoint: Endpoint, declarations: Sequence[Declaration] | None = None, targets: Sequence[str] = ()
) -> Migration:
    """Migrate as `migrate` does, after creating the endpoint's database where it is missing.

    Raises:
        RaypipeError: the nodes of the cluster cannot work together; nothing was created.
    """
    _require_nodes(endpoint)
    if endpoint.sharding:
        wanted = databases(endpoint.sharding, schema() if declarations is None else declarations)
        return _together([_of_node(place, migrate_at(place, tables)) for place, tables in wanted])
    if not database_exists(endpoint):
        with Client(replace(endpoint, database=SYSTEM)) as client:
            require_version(client)
            client.run(client.topology.declared(f"CREATE DATABASE IF NOT EXISTS {identifier(endpoint.database)}"))
    with Client(endpoint) as client:
        return migrate(client, declarations, targets)


def _require_nodes(endpoint: Endpoint) -> None:
    cluster = endpoint.sharding.cluster if endpoint.sharding else endpoint.cluster
    if cluster:
        with Client(replace(endpoint, database=SYSTEM, cluster=cluster, sharding=None)) as client:
            cluster_checks.require_nodes(client, endpoint.database)


def database_exists(endpoint: Endpoint) -> bool:
    """Return whether the endpoint's database exists, on a cluster on every node that answers."""
    with Client(replace(endpoint, database=SYSTEM)) as client:
        every, settings = client.topology.all_nodes, client.topology.live_settings
        known = (
            f"SELECT count() FROM {every('system.databases')} WHERE name IN ({{name:String}}, 'system') GROUP BY name"
        )
        counts = [count for (count,) in client.rows(known, {"name": endpoint.database}, settings)]
        return endpoint.database == SYSTEM or (len(counts) == 2 and counts[0] == counts[1])


def _of_node(endpoint: Endpoint, report: Migration) -> Migration:
    """Return the report with the node and the database of each difference."""
    place = f"{endpoint.url.partition('://')[2]}/{endpoint.database}"
    differences = (replace(item, table=f"{item.table} at {place}") for item in report.differences)
    return replace(report, differences=tuple(differences))


def _together(reports: Sequence[Migration]) -> Migration:
    """Return one report: a table is present where no node lacks it."""
    created = dict.fromkeys(name for report in reports for name in report.created)
    present = dict.fromkeys(name for report in reports for name in report.present if name not in created)
    differences = dict.fromkeys(item for report in reports for item in report.differences)
    return Migration(tuple(created), tuple(present), tuple(differences))


@cache
def schema() -> tuple[Declaration, ...]:
    """Return the tables and views that raypipe works on, in an order in which they can be created."""
    declarations = declared(shipped() / "sql" / "schema")
    return (*declarations, *current_views(declarations))
