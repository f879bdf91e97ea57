"""Test parsing the server's text of keys and settings."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.tables import expirations, named, settings_of, split_expressions


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


@pytest.mark.parametrize(
    ("rules", "times"),
    [
        ("a + toIntervalDay(3)", ("a + toIntervalDay(3)",)),
        ("a + toIntervalDay(3), b GROUP BY a SET c = max(c)", ("a + toIntervalDay(3)", "b")),
        ("a RECOMPRESS CODEC(ZSTD(3)), b TO DISK 'x', c WHERE d = 1, e TO VOLUME 'y'", ()),
        ("if(note = ' SETTINGS ', a, b)", ("if(note = ' SETTINGS ', a, b)",)),
    ],
)
def test_the_times_at_which_a_ttl_deletes_rows(rules: str, times: tuple[str, ...]) -> None:
    assert expirations(f"MergeTree ORDER BY a TTL {rules} SETTINGS index_granularity = 8192") == times
    assert expirations(f"MergeTree ORDER BY a TTL {rules}") == times


def test_a_table_without_a_ttl_keeps_its_rows() -> None:
    assert expirations("MergeTree ORDER BY replaceAll(a, ' TTL ', 'b') SETTINGS index_granularity = 8192") == ()


def test_full_names_are_cut_at_every_dot() -> None:
    assert named(["a.b", "c.d.e"]) == {
        "tables": ["a.b", "c.d.e"],
        "databases": ["a", "c", "c.d"],
        "names": ["b", "d.e", "e"],
    }
