"""Compare the tables of a cluster's nodes with those of the node of a connection."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from raypipe.clickhouse import nodes
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.tables import OWN_KINDS
from raypipe.clickhouse.topology import LIVE


class Difference(NamedTuple):
    """A difference of a table between two nodes."""

    table: str
    what: str
    here: str
    there: str
    node: str

    def __str__(self) -> str:
        return f"{self.table}: {self.what} is {self.there} on {self.node}, {self.here} here"


_TABLES = f"""
SELECT _shard_num, name, engine, partition_key, sorting_key
FROM %s
WHERE database = {{database:String}} AND NOT match(name, '^raypipe_({"|".join(OWN_KINDS)})_')
    AND (match(engine, '^(Replicated|Shared)') OR match(name, '^(raypipe|ml)_'))
"""
_COLUMNS = """
SELECT _shard_num, table,
    groupArray((position, concat(name, ' ', type, ' ', toString(default_kind), ' ', default_expression)))
FROM %s
WHERE database = {database:String}
GROUP BY _shard_num, table
"""
_PATHS = "SELECT _shard_num, table, zookeeper_path FROM %s WHERE database = {database:String}"


def differences(client: Client) -> Iterator[Difference]:
    """Yield where a table of the client's database is missing on a node, or differs from that of this node.

    Tables that are neither replicated nor raypipe's own may be on some nodes only.
    """
    live = [node for node in nodes.listed(client) if node.answers]
    copies = _copies(client) if len(live) > 1 else {}
    here = next((node for node in live if node.is_here), live[0] if live else None)
    for table, by_node in sorted(copies.items()):
        for node in live:
            if here is None or node is here:
                continue
            own, other = by_node.get(here.number, {}), by_node.get(node.number, {})
            for what in ("engine", "partition key", "sorting key", "columns", "path in Keeper"):
                is_same_shard = here.shard == node.shard
                first, second = own.get(what, "missing"), other.get(what, "missing")
                if first != second and (what != "path in Keeper" or is_same_shard):
                    what = "table" if "missing" in (first, second) else what
                    yield Difference(table, what, _shown(first), _shown(second), node.name)
                    break


def _shown(value: str) -> str:
    return value or "none"


def _copies(client: Client) -> Mapping[str, Mapping[int, Mapping[str, str]]]:
    """Return the tables of the client's database by name, then by the number of the node."""
    bound = {"database": client.endpoint.database}
    every = client.topology.all_nodes
    copies: dict[str, dict[int, dict[str, str]]] = defaultdict(dict)
    for number, table, engine, partition, sorting in client.rows(_TABLES % every("system.tables"), bound, LIVE):
        copies[table][int(number)] = {"engine": engine, "partition key": partition, "sorting key": sorting}
    for number, table, columns in client.rows(_COLUMNS % every("system.columns"), bound, LIVE):
        if int(number) in copies.get(table, {}):
            copies[table][int(number)]["columns"] = ", ".join(text.strip() for _, text in sorted(columns))
    for number, table, path in client.rows(_PATHS % every("system.replicas"), bound, LIVE):
        if int(number) in copies.get(table, {}):
            copies[table][int(number)]["path in Keeper"] = path
    return copies
