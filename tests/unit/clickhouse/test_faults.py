"""Test the retry policy: which calls repeat, how often, and which error follows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, OperationalError
from urllib3.exceptions import ProtocolError

from raypipe.clickhouse import faults
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.faults import repeat, translate, translated
from raypipe.errors import ConfigError, DataError, Denied, ServerError, Transient, Unreachable

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


@pytest.fixture
def pauses() -> list[float]:
    return []


def test_a_request_that_succeeds_is_made_once_without_a_pause(pauses: list[float]) -> None:
    request = Failing(0, ValueError())
    assert repeat(request, pause=pauses.append) == "done"
    assert (request.calls, pauses) == (1, [])


@pytest.mark.parametrize("code", faults.TRANSIENT)
def test_a_fault_that_passes_is_waited_out(code: int, pauses: list[float]) -> None:
    request = Failing(2, error_of(code))
    assert repeat(request, pause=pauses.append) == "done"
    assert (request.calls, len(pauses)) == (3, 2)


@pytest.mark.parametrize("code", [60, 62, 241, 243, 395, 497, 516, 27, 99999])
def test_a_fault_that_does_not_pass_or_is_not_known_is_final(code: int, pauses: list[float]) -> None:
    request = Failing(1, error_of(code))
    with pytest.raises(ServerError) as failed:
        repeat(request, pause=pauses.append)
    assert (request.calls, pauses, failed.value.code) == (1, [], code)


@pytest.mark.parametrize("error", [DataError("wrong"), ValueError("a bug"), KeyboardInterrupt()])
def test_what_is_not_a_fault_of_the_server_is_never_repeated(error: Exception, pauses: list[float]) -> None:
    request = Failing(1, error)
    with pytest.raises(type(error)):
        repeat(request, pause=pauses.append)
    assert (request.calls, pauses) == (1, [])


def test_the_attempts_are_bounded_and_the_last_error_comes_out(pauses: list[float]) -> None:
    error = error_of(252)
    request = Failing(99, error)
    with pytest.raises(Transient) as failed:
        repeat(request, pause=pauses.append)
    assert failed.value is error
    assert (request.calls, len(pauses)) == (faults.ATTEMPTS, faults.ATTEMPTS - 1)


def test_with_one_attempt_nothing_is_repeated(pauses: list[float]) -> None:
    request = Failing(1, error_of(252))
    with pytest.raises(Transient):
        repeat(request, attempts=1, pause=pauses.append)
    assert (request.calls, pauses) == (1, [])


def test_a_broken_connection_is_repeated_unless_that_could_do_a_thing_twice(pauses: list[float]) -> None:
    assert repeat(Failing(1, Unreachable("gone")), pause=pauses.append) == "done"
    request = Failing(1, Unreachable("gone"))
    with pytest.raises(Unreachable):
        repeat(request, pause=pauses.append, replay_unreachable=False)
    assert request.calls == 1


def test_pauses_grow_to_a_limit_and_are_never_the_same_for_everybody(pauses: list[float]) -> None:
    with pytest.raises(Transient):
        repeat(Failing(99, error_of(252)), attempts=12, pause=pauses.append)
    middle, seconds = [], faults.FIRST_PAUSE_SECONDS
    for pause in pauses:
        assert 0.5 * seconds <= pause <= 1.5 * seconds
        middle.append(seconds)
        seconds = min(2 * seconds, faults.LONGEST_PAUSE_SECONDS)
    assert middle[-1] == faults.LONGEST_PAUSE_SECONDS
    assert any(later != 2 * earlier for earlier, later in pairwise(pauses[:4]))


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (DatabaseError("HTTPDriver: Code: 252. DB::Exception: Too many parts"), Transient, 252),
        (DatabaseError("Code: 60. DB::Exception: no table"), ServerError, 60),
        (DatabaseError("Code: 516. DB::Exception: wrong password"), Denied, 516),
        (DatabaseError("Code: 497. DB::Exception: not enough privileges"), Denied, 497),
        (OperationalError("connection refused"), Unreachable, None),
        (ProtocolError("broken"), Unreachable, None),
        (ConnectionResetError("reset"), Unreachable, None),
        (RuntimeError("what"), ServerError, None),
    ],
)
def test_a_drivers_error_becomes_raypipes_with_its_code_and_text(
    error: Exception, kind: type[ServerError], code: int | None
) -> None:
    found = translate(error, WHERE)
    assert type(found) is kind
    assert (found.code, found.found is not None) == (code, True)  # type: ignore[attr-defined]
    assert str(error) in str(found)
    assert WHERE in found.problem


@pytest.mark.parametrize(
    ("url", "reason"),
    [("http://127.0.0.1:1", "Connection refused"), ("http://nowhere.invalid:8123", "Name or service not known")],
)
def test_an_address_without_an_answer_is_told_in_a_line_without_the_drivers_objects(url: str, reason: str) -> None:
    endpoint = Endpoint(url, "default")
    with pytest.raises(Unreachable) as failed, Client(endpoint) as client:
        client.rows("SELECT 1")
    assert url.removeprefix("http://") in failed.value.problem
    assert "object at" not in str(failed.value)
    assert "Max retries" not in str(failed.value)
    if failed.value.found != reason:
        # Resolvers differ in their words.
        assert "\n" not in str(failed.value.found)


def test_the_code_of_an_attribute_outweighs_the_text() -> None:
    error = DatabaseError("Code: 60.")
    error.code = 252  # type: ignore[attr-defined]
    assert faults.code_of(error) == 252


def test_an_error_of_raypipe_passes_as_it_is() -> None:
    error = ConfigError("mine")
    assert translate(error, WHERE) is error
    with pytest.raises(ConfigError) as failed, translated(WHERE):
        raise error
    assert failed.value is error


def test_the_drivers_error_stays_the_cause() -> None:
    cause = DatabaseError("Code: 252. DB::Exception: x")
    with pytest.raises(Transient) as failed, translated(WHERE):
        raise cause
    assert failed.value.__cause__ is cause


def test_a_bug_is_not_dressed_up_as_a_fault_of_the_server() -> None:
    with pytest.raises(ZeroDivisionError), translated(WHERE):
        raise ZeroDivisionError


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
        (lambda client, data: client.insert("t", data, columns=["k"], token="t"), faults.ATTEMPTS),
        (lambda client, data: client.rows("SELECT 1"), faults.ATTEMPTS),
        (lambda client, data: client.table("SELECT 1"), faults.ATTEMPTS),
        (lambda client, data: client.run("ALTER TABLE t"), 1),
    ],
    ids=["insert", "insert with token", "rows", "table", "run"],
)
def test_only_what_may_be_done_twice_is_sent_again(
    ask: Callable[..., object], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow as pa

    from raypipe.clickhouse.client import Client
    from raypipe.clickhouse.endpoint import Endpoint
    from raypipe.clickhouse.topology import Topology

    # `repeat` has its pause as a default argument.
    monkeypatch.setitem(repeat.__kwdefaults__, "pause", lambda _: None)
    client = Client.__new__(Client)
    client.endpoint = Endpoint.parse("http://h")
    client._where = WHERE
    client._driver = driver = Driver()  # type: ignore[assignment]
    client.topology = Topology()
    with pytest.raises(Transient):
        ask(client, pa.table({"k": [1]}))
    assert driver.calls == calls
