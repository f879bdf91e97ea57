"""Show the run that `score` would start, without changing anything."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from raypipe.artifact.package import load_package
from raypipe.clickhouse import sharding, tables, twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.grants import Grant
from raypipe.clickhouse.sharding import holders
from raypipe.config.load import Loaded
from raypipe.registry import models
from raypipe.score import permissions, prepare, targets
from raypipe.score.manifest import Manifest


@dataclass(frozen=True)
class PlannedRun:
    """The run that `score` would start.

    Attributes:
        parts: active parts of the base table, each of which a slice reads from.
        methods: `replace` or `move`, by target.
        notes: what publishing does not do, such as feeding the materialized views on a target.
        lacking: grants that the run needs and the user does not have; `score` refuses such a run.
    """

    manifest: Manifest
    population: prepare.Population
    parts: int
    methods: Mapping[str, str]
    notes: tuple[str, ...]
    lacking: tuple[Grant, ...]


def plan(endpoint: Endpoint, loaded: Loaded, day: date | None, reference: str) -> PlannedRun:
    """Plan the run that `score` would start, without changing anything."""
    with Client(endpoint) as client:
        population = prepare.population(client, loaded, day)
        model = models.find(client, loaded.config.pipeline, reference)
        models.require_artifact(model)
        package = load_package(
            model.artifact_uri, model.artifact_sha256, client, pipeline=model.pipeline, version=model.version
        )
        manifest = prepare.manifest(client, loaded, model, package, population, write=False)
        names = [target.table for target in manifest.targets]
        return PlannedRun(
            manifest,
            population,
            sum(tables.active_parts(shard, loaded.config.source.table) for shard in sharding.shards(client)),
            {
                target.table: targets.method(twins.require_swappable(holders(client, target.table)[0], target.table))
                for target in manifest.targets
            },
            tuple(_notes(client, names)),
            permissions.lacking(client, loaded),
        )


def _notes(client: Client, names: Sequence[str]) -> Iterator[str]:
    for name in names:
        for view in targets.unfed_views(client, name):
            yield (
                f"the materialized view {view} on {name} gets no rows: partitions are swapped, not inserted; "
                "make it a plain or refreshable view"
            )
