"""The one retry policy: which requests are repeated, how often and after which pauses."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError

from raypipe.clickhouse import retry
from raypipe.clickhouse.retry import repeat
from raypipe.clickhouse.server_errors import TRANSIENT, translate
from raypipe.errors import DataError, ServerError, Transient, Unreachable

WHERE = "http://ann@h:8123/d"


class Failing:
    """A request that fails a number of times and then succeeds."""

    def __init__(self, times: int, error: Exception) -> None:
        self.calls = 0
        self._times = times
        self._error = error

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self._times:
            raise self._error
        return "done"


def error_of(code: int) -> ServerError:
    return translate(DatabaseError(f"Code: {code}. DB::Exception: broken"), WHERE)  # type: ignore[return-value]


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    seconds: list[float] = []
    monkeypatch.setattr(retry, "sleep", seconds.append)
    return seconds


def test_a_request_that_succeeds_is_made_once_without_a_pause(pauses: list[float]) -> None:
    request = Failing(0, ValueError())
    assert repeat(request) == "done"
    assert (request.calls, pauses) == (1, [])


@pytest.mark.parametrize("code", TRANSIENT)
def test_a_fault_that_passes_is_waited_out(code: int, pauses: list[float]) -> None:
    request = Failing(2, error_of(code))
    assert repeat(request) == "done"
    assert (request.calls, len(pauses)) == (3, 2)


@pytest.mark.parametrize("code", [60, 62, 241, 243, 395, 497, 516, 27, 99999])
def test_a_fault_that_does_not_pass_or_is_not_known_is_final(code: int, pauses: list[float]) -> None:
    request = Failing(1, error_of(code))
    with pytest.raises(ServerError) as failed:
        repeat(request)
    assert (request.calls, pauses, failed.value.code) == (1, [], code)


@pytest.mark.parametrize("error", [DataError("wrong"), ValueError("a bug"), KeyboardInterrupt()])
def test_what_is_not_a_fault_of_the_server_is_never_repeated(error: Exception, pauses: list[float]) -> None:
    request = Failing(1, error)
    with pytest.raises(type(error)):
        repeat(request)
    assert (request.calls, pauses) == (1, [])


def test_the_attempts_are_bounded_and_the_last_error_comes_out(pauses: list[float]) -> None:
    error = error_of(252)
    request = Failing(99, error)
    with pytest.raises(Transient) as failed:
        repeat(request)
    assert failed.value is error
    assert (request.calls, len(pauses)) == (retry.ATTEMPTS, retry.ATTEMPTS - 1)


def test_with_one_attempt_nothing_is_repeated(pauses: list[float]) -> None:
    request = Failing(1, error_of(252))
    with pytest.raises(Transient):
        repeat(request, attempts=1)
    assert (request.calls, pauses) == (1, [])


def test_a_broken_connection_is_repeated() -> None:
    assert repeat(Failing(1, Unreachable("gone"))) == "done"


def test_pauses_grow_to_a_limit_and_are_never_the_same_for_everybody(pauses: list[float]) -> None:
    with pytest.raises(Transient):
        repeat(Failing(99, error_of(252)), attempts=12)
    middle, seconds = [], retry.FIRST_PAUSE_SECONDS
    for pause in pauses:
        assert 0.5 * seconds <= pause <= 1.5 * seconds
        middle.append(seconds)
        seconds = min(2 * seconds, retry.LONGEST_PAUSE_SECONDS)
    assert middle[-1] == retry.LONGEST_PAUSE_SECONDS
    assert any(later != 2 * earlier for earlier, later in pairwise(pauses[:4]))


class Driver:
    """A driver whose inserts and queries fail with a fault that passes."""

    server_settings: ClassVar[dict[str, object]] = {}

    def __init__(self) -> None:
        self.calls = 0

    def _fail(self, *_: object, **__: object) -> None:
        self.calls += 1
        raise DatabaseError("Code: 252. DB::Exception: Too many parts")

    raw_insert = query = command = raw_stream = _fail


@pytest.mark.parametrize(
    ("ask", "calls"),
    [
        (lambda client, data: client.insert("t", data, columns=["k"]), 1),
        (lambda client, data: client.insert("t", data, columns=["k"], token="t"), retry.ATTEMPTS),
        (lambda client, data: client.rows("SELECT 1"), retry.ATTEMPTS),
        (lambda client, data: client.rows("SELECT 1", settings={"max_execution_time": 1}), 1),
        (lambda client, data: client.table("SELECT 1"), retry.ATTEMPTS),
        (lambda client, data: client.run("ALTER TABLE t"), 1),
    ],
    ids=["insert", "insert with token", "rows", "rows with a time limit", "table", "run"],
)
def test_only_what_may_be_done_twice_is_sent_again(ask: Callable[..., object], calls: int) -> None:
    import pyarrow as pa

    from raypipe.clickhouse.abandoned import Abandoned
    from raypipe.clickhouse.client import Client
    from raypipe.clickhouse.endpoint import Endpoint
    from raypipe.clickhouse.topology import Topology

    client = Client.__new__(Client)
    client.endpoint = Endpoint.parse("http://h")
    client._where = WHERE
    client._driver = driver = Driver()  # type: ignore[assignment]
    client._abandoned = Abandoned()
    client.topology = Topology()
    client._patience = retry.Patience(None)
    with pytest.raises(Transient):
        ask(client, pa.table({"k": [1]}))
    assert driver.calls == calls


def test_patience_that_ends_sends_each_later_request_once_until_one_is_answered(pauses: list[float]) -> None:
    asked: list[bool] = []

    def unanswered() -> None:
        asked.append(True)
        raise Unreachable("nothing answers")

    patience = retry.Patience(wait_seconds=60)
    for count in (retry.ATTEMPTS, retry.ATTEMPTS + 1):
        with pytest.raises(Unreachable):
            patience.repeat(unanswered)
        assert len(asked) == count
    patience.repeat(lambda: None)
    with pytest.raises(Unreachable):
        patience.repeat(unanswered)
    assert len(asked) == 2 * retry.ATTEMPTS + 1
