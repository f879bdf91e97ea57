"""Publish small pipelines with models that were made by hand, without Ray, so that a test can change their sources."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from raypipe.artifact import files
from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import Matrix as Values
from raypipe.artifact.contract import matrix
from raypipe.artifact.freeze import freeze
from raypipe.artifact.package import Package, load_card, pack
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import unsliced
from raypipe.models.protocol import FitSpec, Matrix
from raypipe.models.xgboost import XGBoost
from raypipe.proof import audit, why
from raypipe.registry import aliases, models
from raypipe.registry.record import Registered
from raypipe.score import prepare
from raypipe.score.manifest import Manifest
from tests.conftest import FittedPublisher, _fresh_database
from tests.factories import model_record
from tests.faults.oracle import in_process

DAY = date(2026, 1, 31)
AT = datetime(2026, 2, 1, tzinfo=UTC)
CUSTOMERS = 400

CONFIG = """
pipeline: spend
description: Spending of a shop's customer.
entity: {type: customer, keys: [shop, customer], id: customer}
source: {table: customers, date_column: day}
carry: [tier, spent]
features:
  - {name: visits, unit: visits, description: Visits so far.}
  - {name: spent, unit: euros, description: Purchases up to the date.}
  - {name: tier, kind: category, encode: onehot, vocabulary: 4, description: Tier of the customer.}
  - {name: region, kind: category, encode: ordinal, vocabulary: 4, missing: ['']}
label: {horizon_days: 30, kind: number}
evaluate: {metric: rmse}
model: {class: 'raypipe.models.xgboost:XGBoost'}
publish:
  - {target: ml_model_predictions, sql: shared/values.sql}
"""
# The base table is read once, so the join needs the copy of the population.
FEATURES = """
-- grain: (shop, customer)
SELECT shop, customer, visits, tier, region, toNullable(recent.spent) AS spent
FROM customers
ANY LEFT JOIN (
    SELECT shop AS of_shop, customer AS of_customer, sum(amount) AS spent
    FROM purchases
    WHERE bought_on <= {date:Date}
    GROUP BY shop, customer
) AS recent ON recent.of_shop = customers.shop AND recent.of_customer = customers.customer
WHERE day = {date:Date} AND {slice}
"""
TABLES = (
    "CREATE TABLE customers (day Date, shop UInt16, customer Int64, visits UInt32, tier LowCardinality(String),"
    " region String) ENGINE = MergeTree ORDER BY (day, shop, customer) SETTINGS index_granularity = 16",
    "CREATE TABLE purchases (bought_on Date, shop UInt16, customer Int64, amount Float64)"
    " ENGINE = MergeTree ORDER BY (shop, customer)",
    "INSERT INTO customers SELECT toDate('2026-01-31'), number % 2 + 1, intDiv(number, 2) - 10, number % 37,"
    f" ['free', 'basic', 'gold'][number % 3 + 1], ['', 'north', 'south'][number % 3 + 1] FROM numbers({CUSTOMERS})",
    "INSERT INTO purchases SELECT toDate('2026-01-01') + number % 31, number % 2 + 1, intDiv(number % 300, 2) - 10,"
    " number % 97 / 10 FROM numbers(3000)",
)


@dataclass(frozen=True)
class Place:
    """A database with one pipeline and its champion."""

    publisher: FittedPublisher
    client: Client
    loaded: Loaded

    def publish(self) -> Manifest:
        """Score the day in this process, and publish."""
        population = prepare.population(self.client, self.loaded, DAY)
        model = models.find(self.client, self.loaded.config.pipeline, aliases.CHAMPION)
        card = load_card(model.artifact_uri, model.artifact_sha256, self.client)
        manifest = prepare.manifest(self.client, self.loaded, model, card, population, write=True)
        in_process(self.publisher, manifest)
        return manifest

    def why(self, *words: str, day: date | None = None) -> why.Why:
        return why.why(self.client, self.loaded, day, words)

    def audit(self, day: date | None = None) -> audit.Audit:
        return audit.audit(self.client, self.loaded.config.pipeline, day)

    def run(self, sql: str) -> None:
        """Change the source, and wait until it is changed."""
        self.client.run(sql, settings={"mutations_sync": 2, "lightweight_deletes_sync": 2})


@contextmanager
def spend(
    server: Endpoint, folder: Path, *overrides: str, features: str = FEATURES, high: float | None = None
) -> Iterator[Place]:
    """Provide the pipeline `spend`; scores above `high` are rejected."""
    (folder / "configs").mkdir()
    (folder / "configs" / "spend.yaml").write_text(CONFIG)
    (folder / "sql" / "spend").mkdir(parents=True)
    (folder / "sql" / "spend" / "features.sql").write_text(features.lstrip())
    given = [f"artifacts={folder / 'artifacts'}", "score.slice_rows=100", "score.explain.rows=0", *overrides]
    loaded = load_pipeline("spend", folder / "configs", given, environ={})
    with _fresh_database(server) as place, Client(place) as client:
        migrate(client)
        for table in TABLES:
            client.run(table)
        champion(client, loaded, lambda x: x[:, 0] + 2 * np.nan_to_num(x[:, 1]), high=high)
        yield Place(FittedPublisher(place, folder / "artifacts"), client, loaded)


def champion(
    client: Client, loaded: Loaded, label: Callable[[Values], npt.NDArray[np.float32]], *, high: float | None = None
) -> Registered:
    """Fit a model to a function of the features, and make it the champion."""
    config = loaded.config
    statement = load(loaded.sql(f"{config.pipeline}/features.sql"))
    features, bound = unsliced(statement.text), {"date": DAY}
    contract = freeze(client, config.features, config.entity.keys, config.carry, features, [bound], statement.source)
    x = matrix(client.table(contract.select(features), bound).column("x"), len(contract.columns))
    rows = Matrix(x, label(x).astype(np.float32))
    model, _ = XGBoost().fit(rows, rows, FitSpec(contract.columns, params={"max_depth": 4}, rounds=20, kind="number"))
    bins = fit_bins(x, model.predict(x))
    score_range = None if high is None else (-1e9, high)
    package = Package(config.model.class_path, contract, bins, 0.5, (), model, score_range=score_range)
    artifact = files.save(config.artifacts, pack(package, x, {}))
    stamp = f"20260131.{len(models.list_models(client)):06}.abcdef"
    record = replace(model_record(stamp, AT, artifact, contract.sha256), pipeline=config.pipeline)
    made = models.set_status(client, models.register(client, record, AT), "PRODUCTION", AT)
    aliases.move(client, config.pipeline, {aliases.CHAMPION: made}, "made by hand", "a test", datetime.now(UTC))
    return made
