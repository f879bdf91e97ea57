"""Test long, hung and abandoned statements."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace

import pytest

from raypipe.clickhouse import mutations, retry
from raypipe.clickhouse.abandoned import Abandoned
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.server_errors import translated
from raypipe.errors import ServerError, Transient, Unreachable
from tests.conftest import FittedPublisher
from tests.faults.oracle import assert_exact, assert_nothing_left, in_process, planned
from tests.faults.proxy import Proxy, Rule, proxied
from tests.faults.small import DAY, small_publisher

pytestmark = pytest.mark.fast

TIMEOUT = 1
# Three seconds, during which the server has nothing to send but progress.
SLOW = "sum(sleepEachRow(0.02)) FROM numbers(150)"
SLOWLY = {"max_block_size": 1, "function_sleep_max_microseconds_per_block": 0}


@pytest.fixture
def impatient(database: Endpoint) -> Endpoint:
    """The test's database, with a timeout that is shorter than the statements."""
    return replace(database, timeout_seconds=TIMEOUT)


@pytest.fixture
def proxy(database: Endpoint) -> Iterator[Proxy]:
    with proxied(database.url) as running:
        yield running


@pytest.fixture
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "sleep", lambda _: None)


def test_a_statement_longer_than_the_timeout_lives_while_it_reports_progress(impatient: Endpoint) -> None:
    with Client(impatient) as client:
        client.run("CREATE TABLE slow (x UInt8) ENGINE = MergeTree ORDER BY x")
        client.run(f"INSERT INTO slow SELECT {SLOW}", settings=SLOWLY)
        assert client.rows("SELECT x FROM slow") == [(0,)]
        assert client.value(f"SELECT {SLOW}", settings={**SLOWLY, "max_execution_time": 60}) == 0
        assert client.table(f"SELECT {SLOW}", settings=SLOWLY).num_rows == 1


def test_without_progress_a_statement_longer_than_the_timeout_fails(impatient: Endpoint) -> None:
    silent = {**SLOWLY, "http_headers_progress_interval_ms": 60_000, "max_execution_time": 60}
    with Client(impatient) as client, pytest.raises(Unreachable, match="timed out"):
        client.value(f"SELECT {SLOW}", settings=silent)


def value(client: Client, sql: str) -> int:
    return int(client.value(sql, settings=SLOWLY))


def streamed(client: Client, sql: str) -> int:
    return int(client.table(sql, settings=SLOWLY).column(0)[0].as_py())


def reads_at_once(endpoint: Endpoint, proxy: Proxy, read: Callable[[Client, str], int] = value) -> int:
    """Lose the first answer of a slow read; return the number of reads that run when it has been sent again."""
    mark = uuid.uuid4().hex
    proxy.add(Rule(mark.encode(), "hold_answer"))
    running = f"(SELECT count() FROM system.processes WHERE position(query, '{mark}') > 0)"
    with Client(replace(endpoint, url=proxy.url)) as client:
        return read(client, f"SELECT any({running}) + {SLOW}")


@pytest.mark.parametrize("read", [value, streamed])
def test_a_read_without_an_answer_is_killed_before_it_is_sent_again(
    impatient: Endpoint, proxy: Proxy, without_pauses: None, read: Callable[[Client, str], int]
) -> None:
    assert reads_at_once(impatient, proxy, read) == 1


def test_without_the_kill_two_reads_run_at_once(
    impatient: Endpoint, proxy: Proxy, without_pauses: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Abandoned, "end", lambda *_: None)
    assert reads_at_once(impatient, proxy) == 2


def test_a_read_is_not_sent_again_while_the_abandoned_one_cannot_be_killed(
    impatient: Endpoint, proxy: Proxy, without_pauses: None
) -> None:
    mark = uuid.uuid4().hex.encode()
    sent = proxy.add(Rule(mark, "cut", once=False))
    kills = proxy.add(Rule(b"KILL QUERY", "cut", once=False))
    with Client(replace(impatient, url=proxy.url)) as client, pytest.raises(Unreachable):
        client.value(f"SELECT '{mark.decode()}'")
    # The driver repeats a read once when its connection is reset, under the same id.
    assert len(sent.hits) <= 2
    assert len(kills.hits) >= retry.ATTEMPTS - 1


def test_a_statement_that_a_kill_does_not_end_is_killed_again_before_the_next(client: Client) -> None:
    abandoned = Abandoned()
    with pytest.raises(Unreachable), abandoned.identified() as query_id:
        raise Unreachable("no answer")
    running = f"(SELECT '{query_id}' AS query_id)"
    for _ in range(2):
        with pytest.raises(Transient, match="still runs"):
            abandoned.end(client._driver, running)
    abandoned.end(client._driver, "system.processes")
    # It is forgotten.
    abandoned.end(client._driver, running)


def test_a_statement_that_was_sent_twice_under_one_id_is_killed(client: Client) -> None:
    abandoned, running = Abandoned(), "SELECT count() FROM system.processes WHERE query_id = {id:String}"

    def twice(pool: ThreadPoolExecutor) -> None:
        with abandoned.identified() as query_id, translated("here"):
            first = pool.submit(client._driver.query, f"SELECT {SLOW}", settings={**SLOWLY, "query_id": query_id})
            while not client.value(running, {"id": query_id}):
                assert not first.done()
            sent.append(first)
            client._driver.query("SELECT 1", settings={"query_id": query_id})

    sent: list[Future[object]] = []
    with ThreadPoolExecutor() as pool:
        with pytest.raises(Transient):
            twice(pool)
        abandoned.end(client._driver, "system.processes")
        assert "QUERY_WAS_CANCELLED" in str(sent[0].exception())


def test_each_statement_has_a_query_id_of_its_own(client: Client) -> None:
    seen = [client.value("SELECT queryID()") for _ in range(2)]
    seen += [client.table("SELECT queryID() AS id").column("id").to_pylist()[0] for _ in range(2)]
    assert len(set(seen)) == len(seen)
    assert all(query_id.startswith("raypipe-") for query_id in seen)


@pytest.fixture(scope="module")
def small(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FittedPublisher]:
    name = f"raypipe_test_{uuid.uuid4().hex[:12]}"
    yield small_publisher(endpoint, name, tmp_path_factory.mktemp("small"))
    with Client(endpoint) as admin:
        admin.run(f"DROP DATABASE {name} SYNC")


def test_a_run_with_a_hung_read_kills_it_and_publishes_the_population_once(small: FittedPublisher) -> None:
    with proxied(small.endpoint.url) as proxy:
        # Only slices are read with a bounded number of threads.
        hung = proxy.add(Rule(b"max_threads=1", "hold_answer"))
        killed = proxy.add(Rule(b"KILL QUERY WHERE query_id", "pass", once=False))
        endpoint = replace(small.endpoint, url=proxy.url, timeout_seconds=2)
        manifest = planned(small, DAY, "score.explain.rows=0")
        in_process(replace(small, endpoint=endpoint), manifest)
    assert len(hung.hits) == 1
    assert len(killed.hits) >= 1
    with Client(small.endpoint) as client:
        assert_exact(client, DAY, manifest.run_id)
        assert_nothing_left(client)


@pytest.fixture
def table(client: Client) -> Client:
    """Create a table `t` of 100 rows."""
    client.run("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n")
    client.run("INSERT INTO t SELECT number FROM numbers(100)")
    return client


def test_a_deletion_is_awaited_until_no_reader_sees_its_rows(table: Client, impatient: Endpoint) -> None:
    table.run("SYSTEM STOP MERGES t")
    started = threading.Timer(2 * TIMEOUT, lambda: Client(impatient).run("SYSTEM START MERGES t"))
    with Client(replace(impatient, timeout_seconds=10 * TIMEOUT)) as patient:
        started.start()
        mutations.delete(patient, "t", "n < {most:UInt64}", {"most": 50})
        assert patient.value("SELECT count() FROM t") == 50
    started.join()


def test_without_the_wait_readers_still_see_the_deleted_rows(table: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mutations, "_await", lambda *_: None)
    table.run("SYSTEM STOP MERGES t")
    mutations.delete(table, "t", "n < 50")
    assert table.value("SELECT count() FROM t") == 100
    table.run("SYSTEM START MERGES t")


def test_with_a_connection_that_waits_a_deletion_fails_at_the_timeout(table: Client, impatient: Endpoint) -> None:
    table.run("SYSTEM STOP MERGES t")
    with Client(impatient) as client, pytest.raises(Unreachable, match="timed out"):
        client.run("DELETE FROM t WHERE n < 50", settings={"lightweight_deletes_sync": 2})
    table.run("SYSTEM START MERGES t")


def test_a_deletion_that_fails_is_an_error_with_the_servers_reason_and_leaves_no_mutation(table: Client) -> None:
    with pytest.raises(ServerError, match=r"(?s)did not delete rows from t.*the cup is broken"):
        mutations.delete(table, "t", "throwIf(n = 7, 'the cup is broken') = 0")
    assert table.rows("SELECT command FROM system.mutations WHERE database = currentDatabase() AND NOT is_done") == []
    assert table.value("SELECT count() FROM t") == 100


def test_a_deletion_without_progress_ends_at_the_timeout(table: Client, impatient: Endpoint) -> None:
    table.run("SYSTEM STOP MERGES t")
    with Client(impatient) as client, pytest.raises(ServerError, match="none done in 1 seconds"):
        mutations.delete(client, "t", "n < 50")
    table.run("SYSTEM START MERGES t")
    assert table.value("SELECT count() FROM t") == 100


def test_a_deletion_that_goes_on_part_by_part_may_outlast_the_timeout(table: Client, impatient: Endpoint) -> None:
    table.run("TRUNCATE TABLE t")
    # Two parts, which take a second and a half and three seconds: each row is looked at twice.
    for rows in (75, 150):
        table.run("INSERT INTO t SELECT number FROM numbers({rows:UInt64})", {"rows": rows})
    with Client(replace(impatient, timeout_seconds=2 * TIMEOUT)) as client:
        mutations.delete(client, "t", "sleepEachRow(0.01) = 0 AND n < 50")
        assert client.value("SELECT count() FROM t WHERE n < 50") == 0


def test_a_deletion_that_ends_takes_none_of_others_along(table: Client, impatient: Endpoint) -> None:
    theirs = "DELETE WHERE throwIf(n = 7, 'the cup is broken')"
    table.run(f"ALTER TABLE t {theirs}", settings={"mutations_sync": 0})
    with Client(impatient) as client, pytest.raises(ServerError, match="did not delete rows"):
        mutations.delete(client, "t", "n < 50")
    left = table.rows("SELECT command FROM system.mutations WHERE database = currentDatabase() AND NOT is_done")
    assert len(left) == 1
    assert "the cup is broken" in left[0][0]
    table.run("KILL MUTATION WHERE database = currentDatabase() SYNC")
