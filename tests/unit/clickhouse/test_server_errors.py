"""What an error of the driver, the network or the server becomes."""

from __future__ import annotations

import pytest
from clickhouse_connect.driver.exceptions import DatabaseError, NotSupportedError, OperationalError, ProgrammingError
from urllib3.exceptions import ProtocolError

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.server_errors import code_of, translate, translated
from raypipe.errors import ConfigError, Denied, ServerError, Transient, Unreachable

WHERE = "http://ann@h:8123/d"


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


def test_a_refusal_of_the_driver_is_final_and_not_a_missing_answer() -> None:
    refused = translate(ProgrammingError("Setting max_threads is readonly"), WHERE)
    assert type(refused) is ServerError
    assert refused.found == "Setting max_threads is readonly"
    assert "take the constraint on this setting" in str(refused.next_step)
    unsupported = translate(NotSupportedError("Time deserialization not supported"), WHERE)
    assert (type(unsupported), unsupported.next_step) == (ServerError, None)


def test_a_broken_connection_is_told_by_its_innermost_error() -> None:
    error = OperationalError("HTTPConnectionPool: Max retries exceeded with url")
    error.__cause__ = ConnectionRefusedError(111, "Connection refused")
    assert translate(error, WHERE).found == "Connection refused"


def test_an_error_that_was_raised_from_itself_is_told_by_its_own_text() -> None:
    error = ProtocolError("Connection broken")
    error.__cause__ = error
    assert translate(error, WHERE).found == "Connection broken"


def test_the_code_of_an_attribute_outweighs_the_text() -> None:
    error = DatabaseError("Code: 60.")
    error.code = 252  # type: ignore[attr-defined]
    assert code_of(error) == 252


def test_an_error_of_raypipe_passes_as_it_is() -> None:
    error = ConfigError("mine")
    with pytest.raises(ConfigError) as failed, translated(WHERE):
        raise error
    assert failed.value is error


def test_the_drivers_error_stays_the_cause() -> None:
    cause = DatabaseError("Code: 252. DB::Exception: x")
    with pytest.raises(Transient) as failed, translated(WHERE):
        raise cause
    assert failed.value.__cause__ is cause


@pytest.mark.parametrize("error", [ProtocolError("broken"), ConnectionResetError("reset")])
def test_an_error_of_the_network_that_the_driver_lets_through_is_no_answer(error: Exception) -> None:
    with pytest.raises(Unreachable), translated(WHERE):
        raise error


def test_a_bug_is_not_dressed_up_as_a_fault_of_the_server() -> None:
    with pytest.raises(ZeroDivisionError), translated(WHERE):
        raise ZeroDivisionError


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
