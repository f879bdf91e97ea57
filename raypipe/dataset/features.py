"""Read the features of a pipeline as a Ray Data dataset, ready for `raypipe.Scorer`."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

from raypipe.artifact.contract import KEY_HASH, Contract, describe_query
from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import literal
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.days import as_day, end_of_day
from raypipe.data.slices import unsliced
from raypipe.errors import DataError
from raypipe.registry import models
from raypipe.score import prepare
from raypipe.score.prepare import Population

if TYPE_CHECKING:
    import ray.data

# Every row names the version and the day that it is for, so that a champion promoted meanwhile changes nothing.
VERSION = "model_version"
DAY = "prediction_date"
DAY_END = "day_end"


def read_features(
    pipeline: str,
    day: date | str | None,
    endpoint: Endpoint,
    *,
    version: str = "champion",
    config: Path | str | None = None,
) -> ray.data.Dataset:
    """Return the population of a pipeline on a day, with the matrix of a model version in the column `x`.

    The rows have the entity's keys, the columns that the pipeline carries, `x`, `model_version` and `prediction_date`.

    Args:
        day: the snapshot; None for the newest.
        version: a version, an alias such as `champion`, or `latest`.
        config: the folder of the pipelines; None for `./configs`, else raypipe's own.

    Raises:
        UsageError: there is no such pipeline, version or snapshot.
        DataError: the features query no longer yields the columns that the version was fitted on.
    """
    from raypipe.data.source import read_sql

    loaded = load_pipeline(pipeline, config)
    with Client(endpoint) as client:
        population = prepare.population(client, loaded, None if day is None else as_day("day", day))
        model = models.find(client, pipeline, version)
        models.require_artifact(model)
        card = load_card(model.artifact_uri, model.artifact_sha256, client, pipeline=pipeline, version=model.version)
        parameters = {**population.parameters, **card.contract.parameters}
        card.contract.check(describe_query(client, unsliced(population.features.text), parameters))
    return read_sql(
        _compiled(card.contract, population, model.version, loaded),
        endpoint,
        table=loaded.config.source.table,
        keys=loaded.config.entity.keys,
        pinned=population.pinned,
        parameters=parameters,
        slice_rows=loaded.config.score.rows_per_slice,
    )


def _compiled(contract: Contract, population: Population, version: str, loaded: Loaded) -> str:
    taken = {VERSION, DAY, DAY_END} & contract.schema.keys()
    if taken:
        raise DataError(
            f"The features of {loaded.config.pipeline} have columns that the scorer adds",
            found=", ".join(sorted(taken)),
            next_step=f"rename them in {population.features.source}",
        )
    end = end_of_day(population.date, loaded.config.timezone)
    # In Arrow a DateTime is a plain number.
    moment = f"toDateTime64({literal(end)}, 0, 'UTC')"
    added = {VERSION: literal(version), DAY: literal(population.date), DAY_END: moment}
    columns = ", ".join(f"{expression} AS {name}" for name, expression in added.items())
    return f"SELECT * EXCEPT {KEY_HASH}, {columns} FROM (\n{contract.select(population.features.text)}\n)"
