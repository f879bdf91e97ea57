"""Two shards: embedded engines that reach one another, and that a test may kill and start again."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import Lease, open_embedded
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.project import shipped
from raypipe.score import runs
from raypipe.score.manifest import Manifest
from tests.conftest import FittedPublisher, _shrink_granules
from tests.faults.oracle import assert_exact, in_process, own_tables, planned
from tests.faults.servers import FEATURES, TESTER, configured, free_port, user
from tests.faults.small import DAY
from tests.integration.conftest import _few_users, _registered

LEDGERS = (
    *("raypipe_runs", "raypipe_slices", "raypipe_rejected_rows", "ml_model_monitoring"),
    *("customer_churn_predictions", "ml_model_predictions"),
)

CLUSTER = "pair"
DATABASE = "analytics"
USERS = 400
CONFIG = """
<http_port>{http}</http_port>
<tcp_port>{tcp}</tcp_port>
<remote_servers><{cluster}><secret>{secret}</secret>{shards}</{cluster}></remote_servers>
"""
SHARD = "<shard><replica><host>127.0.0.1</host><port>{tcp}</port></replica></shard>"


class Shards:
    """Engines with one user, each of which keeps its addresses when it is back."""

    def __init__(self, folder: Path, count: int = 2) -> None:
        password, secret = secrets.token_hex(16), secrets.token_hex(16)
        ports = [(free_port(), free_port()) for _ in range(count)]
        shards = "".join(SHARD.format(tcp=tcp) for _, tcp in ports)
        self._folders = [folder / f"shard{number}" for number in range(1, count + 1)]
        for place, (http, tcp) in zip(self._folders, ports, strict=True):
            config = CONFIG.format(http=http, tcp=tcp, cluster=CLUSTER, secret=secret, shards=shards)
            configured(place, config, users=user(TESTER, password))
        self._password = folder / "secret"
        self._password.touch(mode=0o600)
        self._password.write_text(password)
        self._leases: dict[int, Lease] = {}

    def start(self, number: int | None = None) -> None:
        """Start a shard, from 1, or start it again; without a number, all."""
        for each in [number] if number else range(1, len(self._folders) + 1):
            self._leases[each] = open_embedded(self._folders[each - 1])
            with Client(self._leases[each].endpoint) as client:
                client.run("SYSTEM START LISTEN TCP")

    def kill(self, number: int) -> None:
        """End a shard at once, as a crash would."""
        lease = self._leases.pop(number)
        os.kill(lease.pid, signal.SIGKILL)
        lease.close()

    def stop(self) -> None:
        """Let go of all shards, so that they end."""
        while self._leases:
            self._leases.popitem()[1].close()

    def address(self, number: int, database: str) -> Endpoint:
        """Return a shard's address as a user writes it, with the name of the cluster."""
        endpoint = self._leases[number].endpoint
        return replace(endpoint, user=TESTER, password_file=str(self._password), database=database, cluster=CLUSTER)

    def endpoint(self, database: str, number: int = 1) -> Endpoint:
        """Return the endpoint that raypipe makes of a shard's address."""
        return sharding.located(self.address(number, database))


@contextmanager
def two_shards(folder: Path) -> Iterator[Shards]:
    """Start two shards, and end them at the latest here."""
    shards = Shards(folder)
    try:
        shards.start()
        yield shards
    finally:
        shards.stop()


@dataclass(frozen=True)
class Night:
    """A database on all shards with two snapshots of some users and a champion of churn.

    Attributes:
        client: of the first shard's home, as raypipe connects.
        addresses: of each node, as users connect.
    """

    publisher: FittedPublisher
    client: Client
    addresses: tuple[Endpoint, ...]

    def plan(self, *overrides: str) -> Manifest:
        return planned(self.publisher, DAY, *overrides)

    def run(self, manifest: Manifest, *, take_over: bool = False) -> str:
        return in_process(self.publisher, manifest, take_over=take_over).run.run_id

    def score(self, *overrides: str) -> str:
        return self.run(self.plan(*overrides))

    def manifest(self, run_id: str) -> Manifest:
        return Manifest.from_json(runs.find(self.client, run_id).manifest)

    def status(self, run: Manifest | str) -> str:
        return runs.find(self.client, run if isinstance(run, str) else run.run_id).status

    def left(self) -> list[str]:
        """Return the remaining tables of runs on all nodes, including locks."""
        return sorted({table for node in sharding.nodes(self.client) for table in own_tables(node)})

    def seen(self) -> dict[str, int]:
        """Return the rows of the day by run that users see in each view, the same on each node and in each view."""
        answers = [self._seen(address) for address in self.addresses]
        assert all(answer == answers[0] for answer in answers), answers
        return answers[0]

    def _seen(self, address: Endpoint) -> dict[str, int]:
        started = {f"{run.run_at:%Y-%m-%d %H:%M:%S}": run.run_id for run in runs.listed(self.client, limit=1000)}
        with Client(address) as client:
            predictions = client.rows("SELECT batch_id, count() FROM raypipe_current_predictions GROUP BY 1")
            churn = client.rows(
                "SELECT toString(created_at), count() FROM raypipe_current_customer_churn_predictions GROUP BY 1"
            )
        by_run = {started.get(second, second): count for second, count in churn}
        assert by_run == dict(predictions)
        return by_run

    def assert_exact(self, run_id: str) -> None:
        """Assert that the targets hold the population once, all of this run, and that users see the same."""
        assert_exact(self.client, DAY, run_id)
        assert self.seen() == {run_id: runs.find(self.client, run_id).source_rows}

    def empty(self) -> None:
        """Forget every run."""
        for node in sharding.nodes(self.client):
            for table in own_tables(node):
                node.run(f"DROP TABLE {table} SYNC")
            for table in LEDGERS:
                node.run(f"TRUNCATE TABLE {table}")


def night_on(shards: Shards, artifacts: Path) -> Night:
    """Fill the database on all shards; small granules make several slices of each shard's users."""
    endpoint = shards.endpoint(DATABASE)
    migrate_at(endpoint)
    client = Client(endpoint)
    for shard in sharding.shards(client):
        _shrink_granules(shard, FEATURES)
    _few_users(client, USERS)
    model = _registered(client, shipped(), artifacts)
    addresses = tuple(replace(shards.address(number, DATABASE), cluster=None) for number in (1, 2))
    return Night(FittedPublisher(endpoint, model.artifacts), client, addresses)
