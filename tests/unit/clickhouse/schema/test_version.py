"""Test server versions."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.schema.version import MINIMUM, parse_version
from raypipe.errors import ServerError


@pytest.mark.parametrize(
    ("text", "version"), [("26.7.2.1", (26, 7)), ("24.8.14.39-lts", (24, 8)), ("24.10.1.1.altinitystable", (24, 10))]
)
def test_a_version_is_year_and_month(text: str, version: tuple[int, int]) -> None:
    assert parse_version(text) == version


def test_months_are_compared_as_numbers() -> None:
    assert parse_version("25.10.1") > MINIMUM > parse_version("25.3.5.46")


def test_what_is_no_version_is_an_error() -> None:
    with pytest.raises(ServerError, match="cannot be parsed"):
        parse_version("head")
