"""A wire between a run and ClickHouse, whose proxy cuts, refuses, loses and changes what passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest

from raypipe.clickhouse import lock
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.errors import GateRefused, RaypipeError
from raypipe.score import ledger, runs
from raypipe.score.manifest import Manifest
from raypipe.score.run import PublishedRun
from tests.conftest import PUBLISHER_LAST_DATE, FittedPublisher
from tests.faults.actors import PORTION_INSERT
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, own_tables, planned
from tests.faults.proxy import Proxy, Rule, exception, proxied, reply

DAY = PUBLISHER_LAST_DATE - timedelta(days=30)


# About five slices: enough for some before a fault and some after it.
SLICES = "score.slice_rows=1500"


STAGING = b"INSERT INTO `raypipe_staging_"


PORTION = PORTION_INSERT


LEDGER = b"INSERT INTO `raypipe_slices`"


# Only slices are read with a bounded number of threads.
READ = b"max_threads=1"


TARGETS = ("ml_model_predictions", "customer_churn_predictions")


@dataclass(frozen=True)
class Wire:
    """A publisher of this module, with its runs through a proxy."""

    publisher: FittedPublisher
    proxy: Proxy
    client: Client

    def add(self, pattern: bytes, action: Any, **options: Any) -> Rule:
        """Activate a rule."""
        return self.proxy.add(Rule(pattern, action, **options))

    def plan(self, *overrides: str) -> Manifest:
        """Freeze a run, without the proxy."""
        return planned(self.publisher, DAY, SLICES, *overrides)

    def staged(self, *overrides: str) -> Manifest:
        """Freeze a run that is not direct."""
        return replace(self.plan(*overrides), direct=False)

    def run(self, manifest: Manifest) -> PublishedRun:
        """A run through the proxy."""
        endpoint = replace(self.publisher.endpoint, url=self.proxy.url)
        return in_process(replace(self.publisher, endpoint=endpoint), manifest)

    def resume(self, manifest: Manifest) -> PublishedRun:
        """The same run once nothing is in its way any more."""
        return in_process(self.publisher, manifest)

    def status(self, manifest: Manifest) -> str:
        """Return a run's status from the ledger."""
        return runs.find(self.client, manifest.run_id).status

    def content(self) -> list[tuple[Any, ...]]:
        """Return rows and an order-free checksum of each target."""
        return [self.client.rows(f"SELECT count(), sum(cityHash64(*)) FROM {table}")[0] for table in TARGETS]

    def exact(self, manifest: Manifest) -> None:
        """Assert that the run is committed, both targets hold each source key once, and nothing else is left."""
        assert self.status(manifest) == runs.PUBLISHED
        assert_exact(self.client, DAY, manifest.run_id)
        keys = "count(), groupBitXor(cityHash64(company_id, brand_id, user_id))"
        published, source = (
            self.client.rows(f"SELECT {keys} FROM {table} WHERE {where}", {"day": DAY})
            for table, where in (
                ("customer_churn_predictions", "prediction_date = {day:Date}"),
                ("customer_user_features", "feature_date = {day:Date} AND active_last_30_days = 1"),
            )
        )
        assert published == source
        assert self.monitored(manifest) == 1
        assert_nothing_left(self.client)

    def monitored(self, manifest: Manifest) -> int:
        """Return the number of a run's monitoring rows."""
        return int(
            self.client.value(
                "SELECT count() FROM ml_model_monitoring WHERE JSONExtractString(metadata, 'run_id') = {run:String}",
                {"run": manifest.run_id},
            )
        )

    def fails(self, manifest: Manifest, error: type[RaypipeError], *said: str) -> None:
        """Assert that the run fails with this error, publishes nothing, releases its lock and keeps its staging."""
        before = self.content()
        with pytest.raises(error) as raised:
            self.run(manifest)
        found = runs.find(self.client, manifest.run_id)
        assert found.status == (runs.REFUSED if error is GateRefused else runs.FAILED)
        for text in said:
            assert text in found.error
            assert text in str(raised.value)
        assert self.content() == before
        assert lock.holder(self.client, manifest.pipeline) is None
        assert manifest.staging in own_tables(self.client)

    def finished(self, manifest: Manifest) -> set[int]:
        """Return the slices in the ledger."""
        return {receipt.slice for receipt in ledger.receipts(self.client, manifest.run_id)}


@contextmanager
def wired(publisher: FittedPublisher) -> Iterator[Wire]:
    """Provide a wire to a publisher, and drop the tables of its runs at the end."""
    with proxied(publisher.endpoint.url) as proxy, Client(publisher.endpoint) as client:
        yield Wire(publisher, proxy, client)
        for table in own_tables(client):
            client.run(f"DROP TABLE {identifier(table)} SYNC")


def published_wrong(wire: Wire, manifest: Manifest) -> None:
    """Assert that the run is committed and that the oracle detects the damage."""
    assert wire.status(manifest) == runs.PUBLISHED
    with pytest.raises(AssertionError):
        assert_exact(wire.client, DAY, manifest.run_id)


LOST_ANSWERS = [
    pytest.param("cut_after", b"", id="reset"),
    pytest.param("answer_after", reply(503, "no server is available"), id="503"),
]


UNKNOWN = exception(9999, "SOMETHING_NEW", "the cup is broken")
