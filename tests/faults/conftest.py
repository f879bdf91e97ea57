"""The fixtures of the fault tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from raypipe.clickhouse import retry
from tests.conftest import FittedPublisher
from tests.faults.nights import (
    Night,
    own_night,
)


@pytest.fixture
def night(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    with own_night(fitted_publisher) as made:
        yield made


@pytest.fixture
def monthly(fitted_publisher: FittedPublisher) -> Iterator[Night]:
    """Provide the same night with the publisher's own targets and monthly partitions."""
    with own_night(fitted_publisher, "publisher") as made:
        yield made


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat requests after a hundredth of a second."""
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.01)
