"""Test which rows of a table are sampled, and how its names are quoted."""

from __future__ import annotations

import pytest

from raypipe.clickhouse.statements import quoted
from raypipe.explore.sample import NOT_READ, about, plan


def test_a_table_up_to_the_limit_is_read_whole() -> None:
    found = plan("db", "t", "MergeTree", 1000, 1000)
    assert (found.method, found.source.relation(["a"])) == ("whole", "(SELECT t.`a` AS v0 FROM `db`.`t` AS t)")


def test_a_larger_table_is_sampled_by_runs_of_rows_and_its_keys_by_all() -> None:
    found = plan("db", "t", "ReplicatedReplacingMergeTree", 10_001, 1000)
    assert found.method == "granules"
    assert "PREWHERE (intDiv(t._part_offset, 15) + cityHash64(t._part)) % 11 = 0" in found.source.relation(["a"])
    assert "PREWHERE" not in found.whole.relation(["a"])


@pytest.mark.parametrize(("most", "run"), [(1, 1), (1_000, 15), (524_287, 8191), (1_000_000, 8192)])
def test_a_small_sample_has_shorter_runs_and_none_is_longer_than_a_granule(most: int, run: int) -> None:
    assert f"intDiv(t._part_offset, {run})" in plan("db", "t", "MergeTree", 10_000_000, most).source.runs


@pytest.mark.parametrize(("engine", "rows"), [("View", None), ("MergeTree", None), ("Log", 10_001)])
def test_what_has_no_parts_yields_its_first_rows_everywhere(engine: str, rows: int | None) -> None:
    found = plan("db", "t", engine, rows, 1000)
    assert (found.method, found.source) == ("first rows", found.whole)
    assert found.source.relation(["a", "b"]).endswith(" LIMIT 1000)")


def test_names_of_any_letters_are_quoted() -> None:
    relation = plan("d`b", "a\\b", "Log", 1, 10).source.relation(["`; DROP TABLE x --", "v0"])
    assert relation == "(SELECT t.`\\`; DROP TABLE x --` AS v0, t.`v0` AS v1 FROM `d\\`b`.`a\\\\b` AS t)"
    assert quoted("größe") == "`größe`"


@pytest.mark.parametrize("method", ["granules", "first rows"])
def test_a_sample_says_what_it_is(method: str) -> None:
    assert "1,000 of 5,000 rows" in about(method, 1000, 5000)
    assert about("whole", 5000, 5000) == "every row"
    assert "unknown number" in about("first rows", 1000, None)


def test_engines_whose_rows_go_away_by_reading_are_not_read() -> None:
    assert {"Kafka", "RabbitMQ", "NATS", "S3Queue", "AzureQueue", "FileLog"} <= NOT_READ.keys()
