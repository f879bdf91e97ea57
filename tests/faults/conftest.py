"""The fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raypipe.clickhouse import retry
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier
from raypipe.dataset import journal
from tests.conftest import FittedPublisher, _fresh_database
from tests.faults import few, sinks
from tests.faults.nights import Night, open_gate, own_night
from tests.faults.oracle import in_process, own_tables, planned
from tests.faults.proxy import Proxy, proxied
from tests.faults.servers import copied
from tests.faults.wire import DAY, SLICES, Wire, wired


@pytest.fixture
def night(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    with own_night(fitted_publisher) as made:
        yield made


@pytest.fixture
def monthly(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    """Provide the same night with the publisher's own targets and monthly partitions."""
    with own_night(fitted_publisher, "publisher") as made:
        yield made


@pytest.fixture(scope="session")
def days(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[few.Night]:
    """Provide the small publisher with raypipe's own targets, whose partitions are days."""
    with few.few_readers(endpoint, tmp_path_factory.mktemp("days")) as made:
        yield made


@pytest.fixture
def daily(days: few.Night) -> few.Night:
    """Provide the small publisher without a run."""
    days.empty()
    return days


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat requests after a hundredth of a second."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)


@pytest.fixture(scope="module")
def own_publisher(fitted_publisher: FittedPublisher, endpoint: Endpoint) -> Iterator[FittedPublisher]:
    """Provide a copy that these tests may break, with one published run."""
    with _fresh_database(endpoint) as own:
        publisher = copied(fitted_publisher, own, [DAY])
        in_process(publisher, planned(publisher, DAY, SLICES))
        yield publisher


@pytest.fixture
def wire(own_publisher: FittedPublisher) -> Iterator[Wire]:
    with wired(own_publisher) as through:
        yield through


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between repeated requests without waiting."""
    made: list[float] = []
    # `repeat` has its pause as a default argument.
    monkeypatch.setattr(retry, "sleep", made.append)
    return made


@pytest.fixture
def without_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything in staging pass the gate."""
    open_gate(monkeypatch)


@pytest.fixture
def reader(fitted_publisher: FittedPublisher) -> Iterator[Client]:
    """Provide a client of the fitted publisher. A run that failed on purpose leaves no table."""
    with Client(fitted_publisher.endpoint) as client:
        yield client
        for table in own_tables(client):
            client.run(f"DROP TABLE {identifier(table)} SYNC")


@pytest.fixture
def target(client: Client) -> Client:
    """Provide an empty target of a sink, with two partitions, and the sink's ledger."""
    client.run(sinks.DDL)
    journal.create(client)
    return client


@pytest.fixture
def proxy(target: Client) -> Iterator[Proxy]:
    """Provide a proxy in front of the server of a sink's target."""
    with proxied(target.endpoint.url) as made:
        yield made
