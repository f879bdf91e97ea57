"""Test publishing without a server: levels, and the values that a statement may bind."""

from __future__ import annotations

from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any, cast

from raypipe.score import publish_sql
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest

AT = datetime(2026, 2, 1, 3, tzinfo=UTC)


def manifest(**changes: Any) -> Manifest:
    known = {
        "run_id": "churn_1",
        "run_at": AT,
        "pipeline": "churn",
        "date": date(2026, 1, 31),
        "entity_type": "user",
        "entity_id": "user_id",
        "model_id": "m",
        "model_version": "v",
        "keys": ("company_id", "user_id"),
        "carry": ("n",),
        "levels": (),
        "threshold": 0.4,
        "duplicates": "refuse",
        "values": {},
        "timezone": "Asia/Tokyo",
        "staging": "raypipe_staging_churn_1",
        "explanations": "raypipe_explain_churn_1",
        **changes,
    }
    return cast(Manifest, SimpleNamespace(**known))


def level(*levels: tuple[str, float]) -> str:
    return publish_sql.fragments(manifest(levels=levels))["level"]


def test_levels_are_cut_below_their_bounds_and_the_last_takes_the_rest() -> None:
    assert (
        level(("low", 0.3), ("mid", 0.7), ("high", 1.01)) == "multiIf(score < 0.3, 'low', score < 0.7, 'mid', 'high')"
    )
    assert level(("only", 1.01)) == "'only'"
    assert level(("it's", 0.5), ("x", 1.01)) == r"multiIf(score < 0.5, 'it\'s', 'x')"


def test_without_levels_the_class_is_whether_the_score_reaches_the_threshold() -> None:
    assert level() == "if(score >= {threshold:Float64}, '1', '0')"


def test_company_and_brand_are_empty_where_the_query_has_none() -> None:
    known = publish_sql.fragments(manifest())
    assert (known["company_id"], known["brand_id"]) == ("company_id", "''")
    assert known["entity_id"] == "toString(`user_id`)"


def test_only_rows_of_attempts_that_count_are_read_and_one_a_key_where_the_config_says_so() -> None:
    assert publish_sql.fragments(manifest())["staging"] == (
        "(SELECT * FROM `raypipe_staging_churn_1` WHERE attempt IN {attempts:Array(UInt64)})"
    )
    assert "LIMIT 1 BY `company_id`, `user_id`" in publish_sql.fragments(manifest(duplicates="keep_one"))["staging"]


def test_the_values_that_a_publish_statement_may_bind() -> None:
    receipt = cast(Receipt, SimpleNamespace(attempt=7))
    known = publish_sql.bound(manifest(values={"names": ["a"]}), [receipt])
    assert known["names"] == ["a"]
    assert known["attempts"] == [7]
    assert known["timezone"] == "Asia/Tokyo"
    assert (known["run_id"], known["date"], known["run_at"], known["threshold"]) == (
        "churn_1",
        date(2026, 1, 31),
        AT,
        0.4,
    )
