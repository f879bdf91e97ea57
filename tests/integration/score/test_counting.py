"""Test that a large population's unseen categories are estimated from a part of its rows, and all else is exact."""

from __future__ import annotations

from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.data.slices import cut, sampled
from raypipe.score import counting
from raypipe.score.expectations import UNSEEN, Count

ROWS = 400_000
COUNTING = "SELECT *, cityHash64(id) AS key_hash FROM (SELECT * FROM readers AS r WHERE {slice:r})"
COUNTS = {
    (UNSEEN, "tier"): Count("countIf(tier NOT IN ('free', 'basic'))"),
    (UNSEEN, "brand"): Count("countIf(brand NOT IN ('brand-0', 'brand-1', 'brand-2', 'brand-3'))"),
    ("missing", "sessions"): Count("countIf(sessions = 0)"),
}


@pytest.fixture
def readers(client: Client) -> Client:
    """A fifth of the readers have a new tier, and a fifth are of a new brand, whose rows lie together."""
    client.run(
        "CREATE TABLE readers (brand String, id UInt64, tier String, sessions UInt32)"
        " ENGINE = MergeTree ORDER BY (brand, id)"
    )
    client.run(
        "INSERT INTO readers SELECT concat('brand-', toString(number % 5)), number,"
        f" ['free', 'basic', 'free', 'basic', 'new'][1 + sipHash64(number) % 5], number % 7 FROM numbers({ROWS})"
    )
    client.run("OPTIMIZE TABLE readers FINAL")
    return client


def counted(client: Client, sql: str = COUNTING) -> tuple[Any, dict[tuple[str, str], int]]:
    slicing = cut(client, "readers", slice_rows=100_000)
    assert slicing.method == "index"
    return counting.counted(client, sql, {}, COUNTS, slicing, distinct=True)


@pytest.mark.versions
def test_the_estimate_is_near_the_count_and_the_rest_is_exact(readers: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    exactly, counts = counted(readers)
    assert counts[UNSEEN, "brand"] == ROWS / 5
    monkeypatch.setattr(counting, "UNSEEN_ROWS", 80_000)
    whole, estimated = counted(readers)
    assert (whole.rows, whole.checksum, whole.is_distinct) == (exactly.rows, exactly.checksum, True)
    assert estimated["missing", "sessions"] == counts["missing", "sessions"]
    assert estimated[UNSEEN, "tier"] != counts[UNSEEN, "tier"]
    for name in ("tier", "brand"):
        assert estimated[UNSEEN, name] == pytest.approx(counts[UNSEEN, name], rel=0.25)


@pytest.mark.versions
def test_behind_a_subquery_all_rows_are_counted(readers: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    _, counts = counted(readers)
    monkeypatch.setattr(counting, "UNSEEN_ROWS", 80_000)
    assert counted(readers, COUNTING.replace("readers AS r", "(SELECT * FROM readers) AS r"))[1] == counts


@pytest.mark.versions
def test_a_sample_has_its_share_of_the_rows(readers: Client) -> None:
    rows = readers.value(f"SELECT count() FROM (\n{sampled(COUNTING, 5)}\n)")
    assert rows == pytest.approx(ROWS / 5, rel=0.1)


# 25.8 gives the same rows, but reads all of them.
def test_the_server_skips_the_granules_that_are_not_sampled(readers: Client) -> None:
    sql = f"EXPLAIN actions = 1 SELECT {COUNTS[UNSEEN, 'tier'].sql} FROM (\n{sampled(COUNTING, 5)}\n)"
    plan = "\n".join(line for (line,) in readers.rows(sql))
    assert "Prewhere" in plan
    assert "_part_offset" in plan
