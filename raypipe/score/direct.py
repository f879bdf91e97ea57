"""Decide whether a run is direct: each row gets the shape of the targets by itself, while it is scored."""

import json
import re
from collections.abc import Iterator
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, without_comments
from raypipe.clickhouse.tables import describe
from raypipe.data import query_tables
from raypipe.score import publish_sql
from raypipe.score.manifest import Manifest, PublishTarget

# A replicated table would need the names of replicas for each portion.
ENGINES = ("MergeTree", "ReplacingMergeTree")
# The steps of a plan that treat each row by itself. The left side of a join is staging, the right side explanations.
STEPS = re.compile(r"Expression|Filter|Join\w*|ReadFrom(SystemOne|PreparedSource|Storage)|ReadNothing")
_STAGING = re.compile(r"\{staging\}")


def is_possible(client: Client, manifest: Manifest) -> bool:
    """Return whether the publish statement of every target works row by row.

    A statement that reads another table is left to the end of the run, where it reads the table once.
    """
    return (
        client.topology.cluster is None
        and client.endpoint.sharding is None
        and manifest.duplicates != "keep_one"
        and all(_is_row_by_row(client, manifest, target) for target in manifest.targets)
    )


def _is_row_by_row(client: Client, manifest: Manifest, target: PublishTarget) -> bool:
    table = describe(client, target.table)
    if table is None or table.engine not in ENGINES or target.rows != "count()":
        return False
    if len(_STAGING.findall(without_comments(target.sql))) != 1:
        return False
    fragments = {**publish_sql.fragments(manifest), **publish_sql.stand_ins(manifest)}
    sql = Statement(target.sql, source=f"the publish statement of {target.table}").render(**fragments)
    values = publish_sql.bound(manifest, ())
    reads = query_tables.find(client, sql, values)
    if reads.tables or reads.others:
        return False
    (plan,) = json.loads("\n".join(str(line) for (line,) in client.rows(f"EXPLAIN json = 1\n{sql}", values)))
    return all(STEPS.fullmatch(step) for step in _steps(plan["Plan"]))


def _steps(plan: dict[str, Any]) -> Iterator[str]:
    """Yield the kind of each step of a plan."""
    yield plan["Node Type"]
    for part in plan.get("Plans", ()):
        yield from _steps(part)
