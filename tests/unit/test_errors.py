"""Test the errors: their text, their way between processes, and their exit codes."""

from __future__ import annotations

import pickle

import pytest

from raypipe import errors
from raypipe.errors import (
    ConfigError,
    Denied,
    GateRefused,
    RaypipeError,
    ServerError,
    Transient,
    Unreachable,
    UsageError,
)

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RaypipeError)]


def test_a_message_names_the_problem_what_was_found_what_is_allowed_and_what_to_do() -> None:
    error = RaypipeError("It broke", found=0, allowed="1 or 2", next_step="mend it")
    assert str(error) == "It broke\n  found: 0\n  allowed: 1 or 2\n  next: mend it"


def test_parts_that_were_not_given_are_not_printed() -> None:
    assert str(RaypipeError("It broke", allowed="")) == "It broke\n  allowed: "


@pytest.mark.parametrize("kind", KINDS)
def test_every_error_survives_the_way_between_processes(kind: type[RaypipeError]) -> None:
    error = kind("It broke", found=[1], allowed="two", next_step="mend it")
    error.code = 241  # type: ignore[attr-defined]
    restored = pickle.loads(pickle.dumps(error))
    assert type(restored) is kind
    assert str(restored) == str(error)
    assert restored.__dict__ == error.__dict__


@pytest.mark.parametrize(
    ("kind", "code"), [(RaypipeError, 1), (UsageError, 2), (ConfigError, 2), (ServerError, 1), (GateRefused, 3)]
)
def test_the_kind_of_an_error_decides_the_exit_code(kind: type[RaypipeError], code: int) -> None:
    assert kind("x").exit_code == code


@pytest.mark.parametrize("kind", [Unreachable, Denied, Transient])
def test_whatever_the_server_did_is_caught_as_its_error(kind: type[ServerError]) -> None:
    assert issubclass(kind, ServerError)
    assert kind("x").code is None


def test_the_tree_in_the_documentation_names_every_error() -> None:
    assert errors.__doc__ is not None
    assert [kind.__name__ for kind in KINDS if kind.__name__ not in errors.__doc__] == []
