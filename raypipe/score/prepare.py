"""Prepare a scoring run: freeze the manifest from a config, a model and a date."""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from raypipe.artifact.contract import KEY_HASH, Contract, describe_query
from raypipe.artifact.package import Card
from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, load, without_comments
from raypipe.config.load import Loaded
from raypipe.data import pin, slices, split
from raypipe.data.days import today
from raypipe.data.pin import PinnedTable
from raypipe.data.slices import Slicing, cut, has_place, unsliced
from raypipe.errors import ConfigError, GateRefused, RaypipeError, advised, together
from raypipe.models.protocol import load_family
from raypipe.registry.record import Registered
from raypipe.score import counting, direct, expectations, one_predictor
from raypipe.score.expectations import Count, Subject
from raypipe.score.manifest import Manifest, PublishTarget
from raypipe.score.refusals import blamed_on, refusals
from raypipe.score.slicers import watched

NOT_CUT = Slicing("whole", (), (), (), 0)
# Every slice would repeat a join or an aggregate in the features query.
_HEAVY = re.compile(r"\b(JOIN|GROUP\s+BY)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Population:
    """The entities to score: a date, and the features query that yields them.

    Attributes:
        pinned: the base table's columns that the query compares with one value.
        copied: whether the query's result is copied to a table before it is cut into slices.
        is_newest: whether the date is the newest, which no one has named.
    """

    date: date
    features: Statement
    parameters: dict[str, Any]
    pinned: dict[str, Any]
    copied: bool
    is_newest: bool = False


def population(client: Client, loaded: Loaded, wanted: date | None) -> Population:
    """Return the population of a pipeline on a date; None means the newest.

    Without a date column, the newest date is today in the config's time zone.

    Raises:
        UsageError: there is no snapshot of the date.
        ConfigError: features.sql is missing or has no `{slice}`.
    """
    source = loaded.config.source
    features = load(loaded.sql(f"{loaded.config.pipeline}/features.sql"))
    if not has_place(features.text):
        raise ConfigError(
            f"{features.source} has no condition {{slice}}",
            allowed="{slice} in the WHERE of the base table",
            next_step=f"add `AND {{slice}}` where the query reads {source.table}",
        )
    if source.date_column is None:
        day = wanted or today(loaded.config.timezone)
        pinned = {}
    else:
        with advised(f"choose a listed date with --date, or first write this snapshot to {source.table}"):
            day = split.resolve_date(split.snapshots(client, source.table, source.date_column), wanted, source.table)
        pinned = {source.date_column: day}
    copied = bool(_HEAVY.search(without_comments(features.text))) if source.snapshot is None else source.snapshot
    return Population(day, features, split.parameters(day, day, loaded.config), pinned, copied, wanted is None)


def manifest(
    client: Client, loaded: Loaded, model: Registered, card: Card, population: Population, *, write: bool
) -> Manifest:
    """Freeze a run.

    Args:
        card: the description in its artifact.
        write: whether the population may be copied; False changes nothing.

    Raises:
        DataError: the features query no longer yields the columns that the model was fitted on.
        GateRefused: the population is empty.
        ConfigError: a target or its publish statement cannot be used.
    """
    config, contract = loaded.config, card.contract
    sharding.require_sharded(client, config.source.table)
    # A version reads with the values that it was fitted with, even if the config has changed.
    population = replace(population, parameters={**population.parameters, **contract.parameters})
    with blamed_on(population.features.source):
        types = describe_query(client, unsliced(population.features.text), population.parameters)
    contract.check(types)
    counts = expectations.counts(config.expect, contract, config.features, types)
    published = [(item, load(loaded.sql(item.sql))) for item in config.publish]
    texts = "\x00".join([population.features.text, *(statement.text for _, statement in published)])
    run_id = f"{config.pipeline}_{population.date:%Y%m%d}_{secrets.token_hex(4)}"
    uncut = Manifest(
        run_id=run_id,
        run_at=run_at(client, config.pipeline),
        pipeline=config.pipeline,
        date=population.date,
        entity_type=config.entity.type,
        entity_id=config.entity.id,
        model_id=model.model_id,
        model_version=model.version,
        artifact_uri=model.artifact_uri,
        artifact_sha256=model.artifact_sha256,
        contract_sha256=contract.sha256,
        sql_sha256=hashlib.sha256(texts.encode()).hexdigest(),
        keys=contract.keys,
        key_types=contract.key_types,
        carry=contract.carry,
        carry_types=contract.carry_types,
        select=contract.select(population.features.text),
        select_parameters=population.parameters,
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
        score_range=card.score_range,
        timezone=config.timezone,
        inputs=contract.inputs,
        outputs=tuple(card.outputs.items()),
        values=card.values,
        targets=tuple(
            PublishTarget(item.target, statement.text, item.rows, item.current) for item, statement in published
        ),
        snapshot=None,
        pinned=(),
        slices=watched(contract, config.monitor.slices),
    )
    # The shards of a target mostly have the same faults.
    reasons = {
        str(refusal): refusal
        for target, (_, statement) in zip(uncut.targets, published, strict=True)
        for holder in sharding.holders(client, target.table)
        for refusal in refusals(holder, uncut, target, statement)
    }
    if reasons:
        raise together(list(reasons.values()))
    uncut = replace(uncut, direct=direct.is_possible(client, uncut))
    if population.copied and write:
        return _copied(client, loaded, uncut, card, population, counts)
    if not population.copied:
        uncut = replace(uncut, pinned=_pinned(client, population, config.source.table))
    counted = _counting(contract, population.features.text)
    return _cut(client, loaded, uncut, population, config.source.table, population.pinned, counted, counts, write)


def _counting(contract: Contract, features: str) -> str:
    """Return the query of all columns and the key's hash; only those that are counted are read."""
    return f"SELECT *, {contract.key_expression()} AS {KEY_HASH} FROM (\n{features}\n)"


def run_at(client: Client, pipeline: str) -> datetime:
    """Return the time of a new run, in a second of its own, by which targets tell runs apart.

    It is the first free second: a run of a host whose clock is ahead does not date the later runs.
    """
    second = datetime.now(UTC).replace(microsecond=0)
    rows = client.rows(
        "SELECT DISTINCT intDiv(toUnixTimestamp64Micro(started_at), 1000000) FROM raypipe_runs"
        " WHERE pipeline = {pipeline:String} AND started_at >= {second:DateTime64(6, 'UTC')}",
        {"pipeline": pipeline, "second": second},
    )
    taken = {int(seconds) for (seconds,) in rows}
    while int(second.timestamp()) in taken:
        second += timedelta(seconds=1)
    return second


def _cut(
    client: Client,
    loaded: Loaded,
    uncut: Manifest,
    population: Population,
    table: str,
    pinned: dict[str, Any],
    query: str,
    counts: Mapping[tuple[str, str], Count],
    write: bool,
) -> Manifest:
    """Return the manifest with its population counted, checked and cut into slices.

    Args:
        query: yields the population's columns.
        counts: the aggregates that the checks need, by check and column.
        write: whether the results of the checks are written.
    """
    config = loaded.config
    rows_each, keys = config.score.rows_per_slice, config.entity.keys
    cuts = [cut(shard, table, slice_rows=rows_each, pinned=pinned, keys=keys) for shard in sharding.shards(client)]
    slicing = slices.together(cuts)
    # A direct run with repeated keys is refused at the gate, which names some of them; they need staging.
    whole, counted = counting.counted(client, query, population.parameters, counts, slicing, distinct=uncut.direct)
    if whole.rows == 0:
        raise GateRefused(
            f"The population of {config.pipeline} on {population.date} is empty; nothing was published",
            found=f"0 rows from {population.features.source}",
            allowed="at least one row",
            next_step="check the query's conditions, and whether the snapshot of the date is complete",
        )
    subject = Subject(config.pipeline, population.date, config.timezone, population.is_newest, whole.rows, counted)
    results = expectations.checks(client, config.expect, subject)
    if write:
        expectations.write(client, subject, uncut.run_id, results)
    expectations.judge(subject, results)
    return replace(
        uncut,
        slicing=slicing,
        source_rows=whole.rows,
        source_checksum=whole.checksum,
        direct=bool(whole.is_distinct),
        compiled=one_predictor.pays(whole.rows),
        unseen={column: rows for (check, column), rows in counted.items() if check == expectations.UNSEEN},
    )


def _pinned(client: Client, population: Population, table: str) -> tuple[PinnedTable, ...]:
    """Pin what the features query reads, before anything is read."""
    features = population.features
    return tuple(
        replace(item, shard=number)
        for number, shard in enumerate(sharding.shards(client))
        for item in pin.take(shard, features.text, population.parameters, table, population.pinned, features.source)
    )


def _copied(
    client: Client,
    loaded: Loaded,
    uncut: Manifest,
    card: Card,
    population: Population,
    counts: Mapping[tuple[str, str], Count],
) -> Manifest:
    """Copy the features query's result to a table, and return the manifest that reads the copy."""
    name = f"raypipe_snapshot_{uncut.run_id}"
    features = f"SELECT * FROM {identifier(name)} WHERE {{slice}}"
    try:
        _copy(client, name, population, card.contract, loaded.config.expect.names)
        copied = replace(uncut, select=card.contract.select(features), snapshot=name, features_select=uncut.select)
        query = _counting(card.contract, features)
        return _cut(client, loaded, copied, population, name, {}, query, counts, True)
    except BaseException:
        # The reason of the failure matters more than a table that `raypipe doctor --clean` drops as well.
        with suppress(RaypipeError):
            sharding.drop(client, name)
        raise


def _copy(client: Client, name: str, population: Population, contract: Contract, checked: Sequence[str]) -> None:
    """Write the columns that model, publishing and checks need to a table, in one pass, by entity key."""
    order = ", ".join(identifier(key) for key in contract.keys)
    features = (feature.name for feature in contract.features)
    read = (*contract.keys, *contract.carry, *contract.inputs, *features, *checked)
    columns = ", ".join(identifier(column) for column in dict.fromkeys(read))
    select = f"SELECT {columns} FROM (\n{unsliced(population.features.text)}\n)"
    parameters = population.parameters
    statement = client.topology.create(name, "", order=f"({order})", tail=f" EMPTY AS\n{select}")
    sharding.create(client, name, statement, parameters)
    # A table that the query names twice is read as it is at one moment.
    once = {"enable_shared_storage_snapshot_in_query": 1}
    for shard in sharding.shards(client):
        shard.run(f"INSERT INTO {identifier(name)}\n{select}", parameters, once)
