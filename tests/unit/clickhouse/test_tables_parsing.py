"""Test parsing the server's text of keys and settings."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.tables import settings_of, split_expressions


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a, b", ("a", "b")),
        ("(a)", ("a",)),
        ("(a, b)", ("a", "b")),
        ("a, cityHash64(b, c), d", ("a", "cityHash64(b, c)", "d")),
        ("(a), (b)", ("(a)", "(b)")),
        ("(a) % 3", ("(a) % 3",)),
        ("replaceAll(a, ',', ')'), b", ("replaceAll(a, ',', ')')", "b")),
        ("`odd, name`, b", ("`odd, name`", "b")),
        ("arrayJoin([1, 2]), b", ("arrayJoin([1, 2])", "b")),
    ],
)
def test_a_key_is_split_at_its_own_commas_only(text: str, expressions: tuple[str, ...]) -> None:
    assert split_expressions(text) == expressions


def test_settings_are_read_from_the_end_of_the_engine() -> None:
    full = "MergeTree PARTITION BY d ORDER BY (a, b) SETTINGS index_granularity = 8192, storage_policy = 'hot, cold'"
    assert settings_of(full) == {"index_granularity": "8192", "storage_policy": "hot, cold"}


def test_the_word_settings_inside_a_string_starts_no_settings() -> None:
    assert settings_of("MergeTree ORDER BY replaceAll(a, ' SETTINGS ', 'x = 1')") == {}


def test_an_escaped_quote_in_a_setting_is_unescaped() -> None:
    assert settings_of(r"MergeTree ORDER BY a SETTINGS disk = 'it\'s, one'") == {"disk": "it's, one"}


def test_an_engine_without_settings_has_none() -> None:
    assert settings_of("View") == {}
