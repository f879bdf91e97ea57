"""Test `raypipe audit`: the features of a published date read again are the same, or the changed columns are named."""

from __future__ import annotations

from datetime import date

import pytest

from raypipe.errors import DataError, UsageError
from raypipe.proof import audit as module
from raypipe.score import fingerprints
from tests.integration.proof.places import CUSTOMERS, Place


def test_a_source_that_nobody_changed_is_the_same(churn: Place) -> None:
    result = churn.audit()
    assert result.is_same
    assert (result.rows, result.sampled, result.new, result.gone) == (300, 300, 0, 0)
    assert {"days_since_last_session", "current_subscription_tier=a"} <= {item.column for item in result.changes}


def test_a_copied_population_is_compared_with_its_source(shops: Place) -> None:
    result = shops.audit()
    assert (result.is_same, result.sampled) == (True, CUSTOMERS)
    assert [item.column for item in result.changes] == [
        "visits", "spent", "tier=free", "tier=basic", "tier=gold", "region", "tier",
    ]  # fmt: skip


def test_late_rows_name_the_column(shops: Place) -> None:
    shops.run("INSERT INTO purchases SELECT '2026-01-15', 1, number, 1 FROM numbers(7)")
    result = shops.audit()
    assert not result.is_same
    assert result.same_population
    assert [(item.column, item.entities) for item in result.changed] == [("spent", 7)]


def test_rows_after_the_date_change_nothing(shops: Place) -> None:
    shops.run("INSERT INTO purchases SELECT '2026-02-01', 1, number, 1 FROM numbers(7)")
    assert shops.audit().is_same


def test_new_and_gone_entities_are_counted_and_their_columns_are_not(shops: Place) -> None:
    shops.run("DELETE FROM customers WHERE customer IN (1, 2, 3) AND shop = 1")
    few = "(SELECT * FROM customers WHERE customer < -8)"
    shops.run(f"INSERT INTO customers SELECT * REPLACE (customer + 1000 AS customer) FROM {few}")
    result = shops.audit()
    assert not result.is_same
    assert not result.same_population
    assert (result.new, result.gone, result.compared, result.changed) == (4, 3, CUSTOMERS - 3, ())


def test_an_update_in_place_is_counted_by_entity(churn: Place) -> None:
    churn.run("ALTER TABLE customer_user_features UPDATE total_ad_clicks = 7 WHERE user_id IN ('u1', 'u2')")
    result = churn.audit()
    assert {item.column: item.entities for item in result.changed} == {"total_ad_clicks": 2, "ad_clicks_per_session": 2}


def test_a_sample_stands_for_a_large_population(churn: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "SAMPLE", 32)
    churn.publish()
    result = churn.audit()
    assert result.is_same
    assert 0 < result.sampled < 100
    churn.run("ALTER TABLE customer_user_features UPDATE total_ad_clicks = 7 WHERE 1")
    assert {item.entities for item in churn.audit().changed} == {result.sampled}


def test_a_run_without_fingerprints_is_an_error(shops: Place) -> None:
    pattern, nothing = r'"fingerprints": .*$', '"fingerprints": {}}'
    shops.run(
        f"ALTER TABLE raypipe_slices UPDATE receipt = replaceRegexpOne(receipt, '{pattern}', '{nothing}') WHERE 1"
    )
    with pytest.raises(DataError, match="keeps no fingerprints") as refused:
        shops.audit()
    assert "raypipe score spend --date 2026-01-31" in str(refused.value.next_step)


def test_a_date_without_a_run_is_an_error(shops: Place) -> None:
    with pytest.raises(UsageError, match="no published run of 2026-01-30"):
        shops.audit(date(2026, 1, 30))


def test_a_source_that_is_gone_is_an_error(shops: Place) -> None:
    shops.run("DROP TABLE purchases SYNC")
    with pytest.raises(DataError, match="can no longer be read") as refused:
        shops.audit()
    assert "purchases" in str(refused.value.found)


def test_without_the_comparison_late_rows_pass(shops: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    shops.run("INSERT INTO purchases SELECT '2026-01-15', 1, number, 1 FROM numbers(7)")
    kept = module.published.fingerprints(shops.client, shops.audit().run.run_id)
    monkeypatch.setattr(module, "taken", lambda table, then: kept)
    assert shops.audit().is_same
