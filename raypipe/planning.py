"""From a config, a model and a date to a manifest: everything a scoring run will do, decided before it begins."""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, load
from raypipe.config.load import Loaded
from raypipe.data.contract import describe_query
from raypipe.data.slices import cut, has_place, unsliced
from raypipe.data.split import resolve_date, snapshots
from raypipe.errors import ConfigError, GateRefused
from raypipe.registry.models import Registered
from raypipe.registry.package import Package
from raypipe.score import gate, publish
from raypipe.score.manifest import Manifest, Target

# A join or an aggregate in the features query would be repeated in every slice.
_HEAVY = re.compile(r"\b(JOIN|GROUP\s+BY)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Population:
    """What is to be scored: a date and the features query that yields it.

    Attributes:
        parameters: the values that the query binds.
        pinned: the base table's columns that the query holds equal to a value.
        copied: whether the query is written to a table once before it is cut.
    """

    date: date
    features: Statement
    parameters: dict[str, Any]
    pinned: dict[str, Any]
    copied: bool


def population(client: Client, loaded: Loaded, wanted: date | None) -> Population:
    """The population of a pipeline on a date, None meaning the newest.

    Raises:
        UsageError: there is no snapshot of that date.
        ConfigError: features.sql is missing or has no place for a slice.
    """
    source = loaded.config.source
    features = load(loaded.sql(f"{loaded.config.pipeline}/features.sql"))
    if not has_place(features.text):
        raise ConfigError(
            f"{features.source} has no place for a slice",
            allowed="a condition {slice} in the WHERE that belongs to the base table",
            next_step=f"add `AND {{slice}}` where the query reads {source.table}",
        )
    if source.date_column is None:
        day = wanted or datetime.now(UTC).date()
        pinned = {}
    else:
        day = resolve_date(snapshots(client, source.table, source.date_column), wanted, source.table)
        pinned = {source.date_column: day}
    copied = bool(_HEAVY.search(features.text)) if source.snapshot is None else source.snapshot
    return Population(day, features, {"date": day}, pinned, copied)


def manifest(
    client: Client, loaded: Loaded, model: Registered, package: Package, people: Population, *, write: bool
) -> Manifest:
    """Freezes a run.

    Args:
        client: where everything is.
        loaded: the pipeline's config.
        model: the version that scores.
        package: what its artifact holds.
        people: whom it scores.
        write: whether the population may be copied where it has to be; False only looks.

    Raises:
        DataError: the features query no longer yields what the model was fitted on.
        GateRefused: the population is empty.
        ConfigError: a target or its publish statement cannot be used.
    """
    config, contract = loaded.config, package.contract
    contract.check(describe_query(client, unsliced(people.features.text), people.parameters))
    run_id = f"{config.pipeline}_{people.date:%Y%m%d}_{secrets.token_hex(4)}"
    snapshot = f"raypipe_snapshot_{run_id}" if people.copied and write else None
    features, table, pinned = people.features.text, config.source.table, people.pinned
    if snapshot:
        _copy(client, snapshot, people, contract.keys)
        features, table, pinned = f"SELECT * FROM {identifier(snapshot)} WHERE {{slice}}", snapshot, {}
    select = contract.select(features)
    targets = tuple(_target(client, loaded, item.target, item.sql) for item in config.publish)
    slicing = cut(client, table, slice_rows=config.score.slice_rows, pinned=pinned, keys=config.entity.keys)
    rows, checksum = gate.population(client, select, people.parameters)
    if rows == 0:
        raise GateRefused(
            f"The population of {config.pipeline} on {people.date} is empty; nothing was published",
            found=f"0 rows from {people.features.source}",
            next_step="look at its conditions, and whether the snapshot of that date is complete",
        )
    return Manifest(
        run_id=run_id,
        run_at=datetime.now(UTC).replace(microsecond=0),
        pipeline=config.pipeline,
        date=people.date,
        entity_type=config.entity.type,
        entity_id=config.entity.id,
        model_id=model.model_id,
        model_version=model.version,
        artifact_uri=model.artifact_uri,
        artifact_sha256=model.artifact_sha256,
        contract_sha256=contract.sha256,
        sql_sha256=_sha256(people.features.text, *(target.sql for target in targets)),
        keys=contract.keys,
        key_types=contract.key_types,
        carry=contract.carry,
        carry_types=contract.carry_types,
        select=select,
        select_parameters=people.parameters,
        slicing=slicing,
        source_rows=rows,
        source_checksum=checksum,
        chunk_rows=config.score.chunk_rows,
        max_rejected=config.score.max_rejected,
        duplicates=config.score.duplicates,
        explain_rows=config.score.explain.rows,
        explain_features=config.score.explain.features,
        threshold=package.threshold,
        levels=package.levels,
        targets=targets,
        snapshot=snapshot,
    )


def _target(client: Client, loaded: Loaded, table: str, sql: str) -> Target:
    target = Target(table, load(loaded.sql(sql)).text)
    publish.require_target(client, target)
    return target


def _copy(client: Client, name: str, people: Population, keys: tuple[str, ...]) -> None:
    """Writes the features query to a table in the order of the entity key, in one pass."""
    order = ", ".join(identifier(key) for key in keys)
    client.run(
        f"CREATE TABLE {identifier(name)} ENGINE = MergeTree ORDER BY ({order}) SETTINGS allow_nullable_key = 1"
        f" EMPTY AS\n{unsliced(people.features.text)}",
        people.parameters,
    )
    client.run(f"INSERT INTO {identifier(name)}\n{unsliced(people.features.text)}", people.parameters)


def _sha256(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\x00")
    return digest.hexdigest()
