"""From a config, a model and a date to a manifest: everything a scoring run will do, decided before it begins."""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.artifact.contract import Contract, describe_query
from raypipe.artifact.package import Card
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.faults import STATEMENT
from raypipe.clickhouse.statements import Statement, identifier, literal, load
from raypipe.config.load import Loaded
from raypipe.data import split
from raypipe.data.slices import Slicing, cut, has_place, unsliced
from raypipe.errors import ConfigError, GateRefused, ServerError, advised
from raypipe.models.protocol import load_family
from raypipe.registry.models import Registered
from raypipe.score import current, gate, mapping, publish
from raypipe.score.manifest import Manifest, Target

NOT_CUT = Slicing("whole", (), (), (), 0)
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
        with advised(f"choose one of these with --date, or write the snapshot of that date to {source.table} first"):
            day = split.resolve_date(split.snapshots(client, source.table, source.date_column), wanted, source.table)
        pinned = {source.date_column: day}
    copied = bool(_HEAVY.search(features.text)) if source.snapshot is None else source.snapshot
    return Population(day, features, split.parameters(day, day, loaded.config), pinned, copied)


def manifest(
    client: Client, loaded: Loaded, model: Registered, card: Card, people: Population, *, write: bool
) -> Manifest:
    """Freezes a run.

    Args:
        client: where everything is.
        loaded: the pipeline's config.
        model: the version that scores.
        card: what its artifact says of it.
        people: whom it scores.
        write: whether the population may be copied where it has to be; False only looks.

    Raises:
        DataError: the features query no longer yields what the model was fitted on.
        GateRefused: the population is empty.
        ConfigError: a target or its publish statement cannot be used.
    """
    config, contract = loaded.config, card.contract
    # Whatever the config says by now, a version reads with the values that it was fitted with.
    people = replace(people, parameters={**people.parameters, **contract.parameters})
    with _written_in(people.features.source):
        contract.check(describe_query(client, unsliced(people.features.text), people.parameters))
    published = [(item, load(loaded.sql(item.sql))) for item in config.publish]
    run_id = f"{config.pipeline}_{people.date:%Y%m%d}_{secrets.token_hex(4)}"
    made = Manifest(
        run_id=run_id,
        run_at=run_at(client, config.pipeline),
        pipeline=config.pipeline,
        date=people.date,
        entity_type=config.entity.type,
        entity_id=config.entity.id,
        model_id=model.model_id,
        model_version=model.version,
        artifact_uri=model.artifact_uri,
        artifact_sha256=model.artifact_sha256,
        contract_sha256=contract.sha256,
        sql_sha256=_sha256(people.features.text, *(statement.text for _, statement in published)),
        keys=contract.keys,
        key_types=contract.key_types,
        carry=contract.carry,
        carry_types=contract.carry_types,
        select=contract.select(people.features.text),
        select_parameters=people.parameters,
        slicing=NOT_CUT,
        source_rows=0,
        source_checksum=0,
        chunk_rows=config.score.chunk_rows,
        max_rejected=config.score.max_rejected,
        duplicates=config.score.duplicates,
        explain_rows=config.score.explain.rows if load_family(card.family).explains else 0,
        explain_features=config.score.explain.features,
        threshold=card.threshold,
        levels=card.levels,
        timezone=config.timezone,
        inputs=contract.inputs,
        outputs=tuple(card.outputs.items()),
        values=card.values,
        targets=tuple(Target(item.target, statement.text, item.rows, item.current) for item, statement in published),
        snapshot=None,
    )
    for target, (_, statement) in zip(made.targets, published, strict=True):
        _require_publishable(client, made, target, statement)
    if people.copied and write:
        return _copied(client, loaded, made, card, people)
    return _cut(client, loaded, made, people, config.source.table, people.pinned)


def run_at(client: Client, pipeline: str) -> datetime:
    """The time of a new run, in whole seconds: some targets tell runs apart by it, so no two may share one."""
    now = datetime.now(UTC).replace(microsecond=0)
    seconds = client.value(
        "SELECT toUnixTimestamp64Micro(max(started_at)) FROM raypipe_runs WHERE pipeline = {pipeline:String}",
        {"pipeline": pipeline},
    )
    last = datetime.fromtimestamp(int(seconds) // 1_000_000, UTC)
    return max(now, last + timedelta(seconds=1))


def _cut(
    client: Client, loaded: Loaded, made: Manifest, people: Population, table: str, pinned: dict[str, Any]
) -> Manifest:
    """The manifest with its population counted and cut."""
    config = loaded.config
    slicing = cut(client, table, slice_rows=config.score.slice_rows, pinned=pinned, keys=config.entity.keys)
    rows, checksum = gate.population(client, made.select, people.parameters)
    if rows == 0:
        raise GateRefused(
            f"The population of {config.pipeline} on {people.date} is empty; nothing was published",
            found=f"0 rows from {people.features.source}",
            allowed="at least one row",
            next_step="look at its conditions, and whether the snapshot of that date is complete",
        )
    return replace(made, slicing=slicing, source_rows=rows, source_checksum=checksum)


def _copied(client: Client, loaded: Loaded, made: Manifest, card: Card, people: Population) -> Manifest:
    """The manifest of a run that reads its own copy of the features query; without a population there is no copy."""
    name = f"raypipe_snapshot_{made.run_id}"
    select = card.contract.select(f"SELECT * FROM {identifier(name)} WHERE {{slice}}")
    try:
        _copy(client, name, people, card.contract)
        return _cut(client, loaded, replace(made, select=select, snapshot=name), people, name, {})
    except BaseException:
        client.run(client.topology.drop(name))
        raise


def _require_publishable(client: Client, made: Manifest, target: Target, statement: Statement) -> None:
    """Refuses a publish statement that could not be run, before anything is scored for it."""
    table = publish.require_target(client, target)
    publish.mark(table, made.run_id, made.model_version, made, made.run_at)
    if target.current is not None:
        current.day_column(table, target)
    source = statement.source
    with advised(f"correct it in {source}"):
        sql = statement.render(**{**mapping.fragments(made), **_stand_ins(made)})
    with _written_in(source, "; a column of features.sql reaches it when `carry` in the config names it"):
        names = describe_query(client, sql, mapping.bound(made, ()))
    known = [column.name for column in table.columns]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise ConfigError(
            f"{source} yields columns that its target {table.name} does not have",
            found=", ".join(unknown),
            allowed=", ".join(known),
            next_step=f"rename them in {source}, or add them to {table.name}",
        )


def _stand_ins(made: Manifest) -> dict[str, str]:
    """Empty rows of the types that the run's own tables will have, which do not exist yet."""
    of_keys = dict(zip(made.keys, made.key_types, strict=True))
    return {
        "staging": _no_rows({**made.staged_types, "key_hash": "UInt64"}),
        "explanations": _no_rows({**of_keys, "contributions": "String"}),
    }


def _no_rows(types: dict[str, str]) -> str:
    # The table function null() would do, but asks for a grant of its own.
    columns = [f"defaultValueOfTypeName({literal(kind)}) AS {identifier(name)}" for name, kind in types.items()]
    return f"(SELECT {', '.join(columns)} WHERE 0)"


@contextmanager
def _written_in(source: str, advice: str = ", or the table that it reads") -> Iterator[None]:
    """Inside, a statement that ClickHouse cannot run as it is written is an error of the file it stands in."""
    try:
        yield
    except ServerError as error:
        if error.code not in STATEMENT:
            raise
        raise ConfigError(
            f"{source} cannot be run as it is written ({STATEMENT[error.code]})",
            found=error.found,
            next_step=f"correct {source}{advice}",
        ) from error


def _copy(client: Client, name: str, people: Population, contract: Contract) -> None:
    """Writes what the model and the publishing read of the features query to a table, in one pass, by entity key."""
    order = ", ".join(identifier(key) for key in contract.keys)
    read = (*contract.keys, *contract.carry, *contract.inputs, *(feature.name for feature in contract.features))
    columns = ", ".join(identifier(column) for column in dict.fromkeys(read))
    select = f"SELECT {columns} FROM (\n{unsliced(people.features.text)}\n)"
    client.run(client.topology.create(name, "", order=f"({order})", tail=f" EMPTY AS\n{select}"), people.parameters)
    client.run(f"INSERT INTO {identifier(name)}\n{select}", people.parameters)


def _sha256(*texts: str) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
        digest.update(b"\x00")
    return digest.hexdigest()
