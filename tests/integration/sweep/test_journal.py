"""Test the row of a sweep, from which any machine resumes it."""

from __future__ import annotations

from datetime import date

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.errors import UsageError
from raypipe.sweep import journal


@pytest.fixture
def client(client: Client) -> Client:
    migrate(client)
    return client


def test_a_sweep_leaves_how_it_began_and_its_result(client: Client) -> None:
    assert not journal.has_begun(client, "visits_1")
    journal.begin(client, "visits_1", {"as_of": date(2026, 1, 31), "identity": "ab"})
    assert journal.has_begun(client, "visits_1")
    assert journal.state(client, "visits_1") == {"as_of": "2026-01-31", "identity": "ab"}
    assert journal.result(client, "visits_1") is None
    journal.finish(client, "visits_1", {"best": {"trial": 1}})
    assert journal.result(client, "visits_1") == {"best": {"trial": 1}}
    assert journal.state(client, "visits_1")["identity"] == "ab"


def test_a_sweep_that_never_began_is_named_with_those_that_did(client: Client) -> None:
    with pytest.raises(UsageError, match="no sweep 'visits_2'") as caught:
        journal.state(client, "visits_2")
    assert caught.value.allowed == "none: no sweep has begun"
    journal.begin(client, "visits_1", {})
    for name in ("visits_2", "visits", "visits_1_0", "", "' OR 1 = 1"):
        with pytest.raises(UsageError, match="There is no sweep") as caught:
            journal.state(client, name)
        assert caught.value.allowed == "visits_1"
