"""Fill a target's publish.sql for a run, and count the rows that it must yield."""

from collections.abc import Mapping, Sequence
from typing import Any

from raypipe.artifact.contract import describe_query
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier, literal
from raypipe.clickhouse.tables import Table
from raypipe.errors import ConfigError, GateRefused
from raypipe.score.ledger import Receipt, attempts
from raypipe.score.manifest import Manifest, PublishTarget


def fragments(manifest: Manifest) -> dict[str, str]:
    """Return the SQL for the placeholders of a publish.sql."""
    columns = {*manifest.keys, *manifest.carry}
    keys = ", ".join(identifier(name) for name in manifest.keys)
    rows = f"SELECT * FROM {identifier(manifest.staging)} WHERE attempt IN {{attempts:Array(UInt64)}}"
    if manifest.duplicates == "keep_one":
        rows += f" ORDER BY {keys}, score DESC LIMIT 1 BY {keys}"
    return {
        "staging": f"({rows})",
        "explanations": identifier(manifest.explanations),
        "keys": keys,
        "entity_id": f"toString({identifier(manifest.entity_id)})",
        "company_id": "company_id" if "company_id" in columns else "''",
        "brand_id": "brand_id" if "brand_id" in columns else "''",
        "level": _level(manifest),
    }


def stand_ins(manifest: Manifest) -> dict[str, str]:
    """Return empty subqueries in place of the run's own tables, which may not exist yet."""
    return {
        "staging": _no_rows({**manifest.staged_types, "key_hash": "UInt64"}),
        "explanations": no_explanations(manifest),
    }


def no_explanations(manifest: Manifest) -> str:
    """Return an empty subquery in place of the run's explanations."""
    of_keys = dict(zip(manifest.keys, manifest.key_types, strict=True))
    return _no_rows({**of_keys, "contributions": "String"})


def _no_rows(types: Mapping[str, str]) -> str:
    # The table function null() would need a grant of its own.
    columns = [f"defaultValueOfTypeName({literal(kind)}) AS {identifier(name)}" for name, kind in types.items()]
    return f"(SELECT {', '.join(columns)} WHERE 0)"


def bound(manifest: Manifest, written: Sequence[Receipt]) -> dict[str, Any]:
    """Return the values of the parameters that a publish.sql may bind."""
    return {
        "run_id": manifest.run_id,
        "pipeline": manifest.pipeline,
        "model_id": manifest.model_id,
        "model_version": manifest.model_version,
        "entity_type": manifest.entity_type,
        "date": manifest.date,
        "run_at": manifest.run_at,
        "timezone": manifest.timezone,
        "threshold": manifest.threshold,
        "attempts": attempts(written),
        **manifest.values,
    }


def expected(client: Client, manifest: Manifest, target: PublishTarget, written: Sequence[Receipt], staged: int) -> int:
    """Return the number of rows that a target's publish statement must yield.

    Raises:
        GateRefused: there is no row.
    """
    rows = staged if target.rows == "count()" else counted(client, manifest, target, written)
    if not rows:
        raise GateRefused(
            f"Run {manifest.run_id} was not published: it has no rows for {target.table}",
            found=f"{target.rows} = 0 over {staged} staged rows",
            allowed="at least one row",
            next_step="look at the model's output columns in the run's staging table",
        )
    return rows


def counted(client: Client, manifest: Manifest, target: PublishTarget, written: Sequence[Receipt]) -> int:
    """Count the rows for a target among those that a server has staged."""
    sql = f"SELECT toInt64({target.rows}) FROM {fragments(manifest)['staging']}"
    return int(client.value(sql, bound(manifest, written)))


def columns(client: Client, sql: str, parameters: dict[str, Any], table: Table) -> list[str]:
    """Return the columns that the publish statement yields; the target must have each of them."""
    names = list(describe_query(client, sql, parameters))
    unknown = sorted(set(names) - {column.name for column in table.columns})
    if unknown:
        raise ConfigError(
            f"The publish statement of {table.name} yields columns that the table does not have",
            found=", ".join(unknown),
            allowed=", ".join(column.name for column in table.columns),
        )
    return names


def _level(manifest: Manifest) -> str:
    """Return the expression of the level's name; without levels, whether the score reaches the threshold."""
    if not manifest.levels:
        return "if(score >= {threshold:Float64}, '1', '0')"
    cuts = ", ".join(f"score < {literal(bound)}, {literal(name)}" for name, bound in manifest.levels[:-1])
    last = literal(manifest.levels[-1][0])
    return f"multiIf({cuts}, {last})" if cuts else last
