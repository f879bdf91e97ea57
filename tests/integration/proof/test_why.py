"""Test `raypipe why`: one entity scored again equals its published row, or the difference has a cause."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import DataError, UsageError
from raypipe.proof import why as module
from raypipe.score import fingerprints
from tests.integration.proof.places import DAY, Place, champion, spend

USER = ("c", "b", "u17")


def test_a_binary_prediction_equals_its_published_row(churn: Place) -> None:
    result = churn.why("u17")
    assert (result.is_equal, result.causes, result.notes) == (True, (), ())
    assert result.key == {"company_id": "c", "brand_id": "b", "user_id": "u17"}
    ((value, level),) = churn.client.rows(
        "SELECT prediction_value, prediction_class FROM ml_model_predictions WHERE entity_id = 'u17'"
    )
    assert [(row.score, row.level) for row in result.predictions] == [(value, level)]
    assert result.expected == result.predictions[0]
    assert result.scored is not None
    assert result.scored.score == pytest.approx(value, abs=1e-6)


def test_its_features_have_names_units_values_and_parts_of_the_score(churn: Place) -> None:
    result = churn.why(*USER, day=DAY)
    assert result.scored is not None
    features = {feature.name: feature for feature in result.scored.features}
    recency = features["days_since_last_session"]
    assert (recency.value, recency.unit, recency.changed) == (17.0, "days", False)
    assert "last session" in recency.description
    assert features["current_subscription_tier"].value in ("a", "b", "c")
    assert features["avg_time_on_page_sec"].value is None
    # The label of this model is a threshold on the recency alone.
    assert result.scored.features[0] is recency
    assert recency.contribution


def test_a_number_of_a_copied_population_equals_its_published_row(shops: Place) -> None:
    result = shops.why("2", "-9")
    assert (result.is_equal, result.key) == (True, {"shop": "2", "customer": "-9"})
    assert result.scored is not None
    assert {item.name: item.value for item in result.scored.features} == {
        "visits": 3.0,
        "spent": shops.client.value("SELECT sum(amount) FROM purchases WHERE shop = 2 AND customer = -9"),
        "tier": "free",
        "region": None,
    }


def test_an_entity_id_of_several_entities_asks_for_more(shops: Place) -> None:
    with pytest.raises(UsageError, match="customer=5 fits several") as refused:
        shops.why("5")
    assert (refused.value.found, refused.value.next_step) == (
        "shop=1; shop=2",
        "add columns of the key, such as shop=1",
    )
    assert shops.why("customer=5", "shop=2").is_equal
    assert shops.why("5", "shop=1").key == {"shop": "1", "customer": "5"}


@pytest.mark.parametrize(("words", "named"), [(("x1", "5"), "x1"), (("shop=70000", "5"), "70000"), (("",), "''")])
def test_a_value_that_is_no_key_is_named(shops: Place, words: tuple[str, ...], named: str) -> None:
    with pytest.raises(UsageError, match="cannot have this value") as refused:
        shops.why(*words)
    assert repr(refused.value.found) == repr(named.strip("'"))


def test_too_many_values_are_no_key(shops: Place) -> None:
    with pytest.raises(UsageError, match="not a key of spend") as refused:
        shops.why("1", "2", "3")
    assert "SHOP CUSTOMER" in str(refused.value.allowed)


def test_an_entity_outside_the_population_is_an_error(churn: Place) -> None:
    with pytest.raises(UsageError, match="churn on 2026-01-31 has no entity user_id=u999") as refused:
        churn.why("u999")
    assert "--date" in str(refused.value.next_step)


def test_a_date_without_a_run_is_an_error(churn: Place) -> None:
    with pytest.raises(UsageError, match="no published run of 2026-01-30") as refused:
        churn.why("u17", day=date(2026, 1, 30))
    assert "2026-01-31" in str(refused.value.found)


def test_a_changed_feature_is_named(churn: Place) -> None:
    churn.run("ALTER TABLE customer_user_features UPDATE days_since_last_session = 1 WHERE user_id = 'u17'")
    result = churn.why("u17")
    assert result.is_equal is False
    assert result.scored is not None
    assert set(result.scored.changed or ()) == {"days_since_last_session", "recency_share"}
    assert len(result.causes) == 1
    assert "days_since_last_session" in result.causes[0]
    assert {item.name for item in result.scored.features if item.changed} == set(result.scored.changed or ())
    assert churn.why("u18").is_equal


def test_a_changed_feature_without_an_effect_is_a_note(churn: Place) -> None:
    churn.run("ALTER TABLE customer_user_features UPDATE avg_searches = 9 WHERE user_id = 'u17'")
    result = churn.why("u17")
    assert (result.is_equal, result.causes) == (True, ())
    assert result.notes == ("columns changed since, without an effect on the score: avg_searches",)


def test_late_rows_of_a_joined_table_are_named(shops: Place) -> None:
    shops.run("INSERT INTO purchases VALUES ('2026-01-15', 2, 5, 500)")
    result = shops.why("2", "5")
    assert (result.is_equal, result.causes) == (False, ("columns changed since the run read them: spent",))


def test_without_a_fingerprint_the_columns_are_unknown(churn: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fingerprints, "SAMPLE", 1)
    churn.publish()
    churn.run("ALTER TABLE customer_user_features UPDATE days_since_last_session = 1 WHERE user_id = 'u17'")
    result = churn.why("u17")
    assert result.is_equal is False
    assert "raypipe audit churn --date 2026-01-31" in result.causes[0]
    assert result.scored is not None
    assert {item.changed for item in result.scored.features} == {None}


def test_an_entity_that_left_the_source_is_still_published(churn: Place) -> None:
    churn.run("DELETE FROM customer_user_features WHERE user_id = 'u17'")
    result = churn.why(*USER)
    assert (result.is_equal, result.scored) == (False, None)
    assert result.causes == ("the entity is no longer in the source",)
    assert len(result.predictions) == 1
    assert churn.why("u17").causes == result.causes


def test_an_entity_that_came_since_is_not_published(churn: Place) -> None:
    churn.run(
        "INSERT INTO customer_user_features SELECT * REPLACE ('late' AS user_id)"
        " FROM (SELECT * FROM customer_user_features WHERE user_id = 'u17')"
    )
    result = churn.why("late")
    assert (result.is_equal, result.predictions) == (False, ())
    assert "has come into the source since" in result.causes[0]


def test_a_row_that_is_gone_from_the_target_is_seen(churn: Place) -> None:
    churn.run("DELETE FROM ml_model_predictions WHERE entity_id = 'u17'")
    result = churn.why("u17")
    assert (result.is_equal, result.causes) == (False, ("the run read the entity, but the view has no row of it",))


def test_an_entity_that_the_source_repeats_is_told(churn: Place) -> None:
    churn.run("INSERT INTO customer_user_features SELECT * FROM customer_user_features WHERE user_id = 'u17'")
    result = churn.why("u17")
    assert (result.is_equal, result.causes) == (False, ("the source has 2 rows of the entity now",))


def test_the_row_that_keep_one_publishes_is_explained(endpoint: Endpoint, tmp_path: Path) -> None:
    with spend(endpoint, tmp_path, "score.duplicates=keep_one") as place:
        place.run("INSERT INTO customers VALUES ('2026-01-31', 1, 5, 36, 'gold', 'north')")
        place.publish()
        result = place.why("1", "5")
        assert (result.is_equal, len(result.predictions)) == (True, 1)
        assert result.scored is not None
        assert {item.name: item.value for item in result.scored.features}["visits"] == 36.0


def test_a_key_that_the_query_derives_from_a_column_of_the_same_name_is_found(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    features = (
        "-- grain: (shop, customer)\nSELECT base.shop AS shop, base.customer + 1000 AS customer, visits, tier, region,"
        " visits / 2 AS spent\nFROM customers AS base\nWHERE base.day = {date:Date} AND {slice:base}"
    )
    with spend(endpoint, tmp_path, features=features) as place:
        assert place.publish().snapshot is None
        assert place.why("1", "1005").is_equal
        with pytest.raises(UsageError, match="has no entity"):
            place.why("1", "5")


def test_a_rejected_entity_has_the_reason(endpoint: Endpoint, tmp_path: Path) -> None:
    with spend(endpoint, tmp_path, "score.max_rejected=1.0", high=60.0) as place:
        place.publish()
        entities = place.client.rows("SELECT entity, value FROM raypipe_counted_rejections")
        assert 0 < len(entities) < 400
        key = json.loads(entities[0][0])
        result = place.why(str(key["shop"]), str(key["customer"]))
        assert (result.is_equal, result.predictions, result.causes) == (None, (), ())
        assert "outside the range of its kind" in result.rejection
        assert entities[0][1] in result.rejection


def test_a_later_champion_makes_no_difference(shops: Place) -> None:
    later = champion(shops.client, shops.loaded, lambda x: x[:, 0] * 0)
    result = shops.why("1", "5")
    assert result.is_equal
    assert result.run.model_version != later.version
    assert later.version in result.notes[0]


def test_a_published_score_that_is_another_is_seen(shops: Place) -> None:
    shops.run("ALTER TABLE ml_model_predictions UPDATE prediction_value = prediction_value + 0.01 WHERE 1")
    result = shops.why("1", "5")
    assert result.is_equal is False
    assert "scores them differently" in result.causes[0]


def test_without_the_comparison_another_score_passes(shops: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_is_close", lambda now, then: True)
    shops.run("ALTER TABLE ml_model_predictions UPDATE prediction_value = prediction_value + 0.01 WHERE 1")
    assert shops.why("1", "5").is_equal


def test_the_rerun_of_a_date_is_explained(shops: Place) -> None:
    shops.run("INSERT INTO purchases VALUES ('2026-01-15', 2, 5, 500)")
    later = shops.publish()
    # A process that dies before it has tidied up leaves both runs published.
    shops.run("ALTER TABLE raypipe_runs UPDATE status = 'PUBLISHED' WHERE status = 'SUPERSEDED'")
    result = shops.why("2", "5")
    assert (result.run.run_id, result.is_equal) == (later.run_id, True)


def test_a_column_that_is_gone_is_named(shops: Place) -> None:
    shops.run("ALTER TABLE purchases RENAME COLUMN amount TO price")
    with pytest.raises(DataError, match="can no longer be read") as refused:
        shops.why("2", "5")
    assert "amount" in str(refused.value.found)


def test_one_entity_reads_a_few_granules(shops: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, Any]] = []
    real = shops.client.table

    def table(sql: str, parameters: Any = None, settings: Any = None) -> Any:
        asked.append((sql, parameters))
        return real(sql, parameters, settings)

    monkeypatch.setattr(shops.client, "table", table)
    shops.why("1", "5")
    ((sql, parameters),) = [item for item in asked if "raypipe_text_0" in item[0]]
    plan = "\n".join(line for (line,) in shops.client.rows(f"EXPLAIN indexes = 1 {sql}", parameters))
    customers = plan[plan.index(".customers") :]
    granules = re.findall(r"Granules: (\d+)/(\d+)", customers)
    assert granules[-1][0] == "1"
    assert int(granules[0][1]) > 20
