"""Test the reads of a training table, and that a failed drop does not hide the error before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import Statement
from raypipe.config.load import load_pipeline
from raypipe.errors import ServerError
from raypipe.fit import labelled
from raypipe.fit.fit import needs_ray
from raypipe.fit.kept_rows import kept_share
from raypipe.fit.labelled import fit_version
from raypipe.fit.recipe import PARTS, Recipe, frozen, recipe_of
from raypipe.fit.training_table import part_query, read_part, read_parts, scratch_name, telling, written
from raypipe.progress import silent
from raypipe.project import shipped
from tests.faults.proxy import Rule, exception, proxied


def test_the_error_of_a_fit_is_not_hidden_by_a_table_that_could_not_be_dropped(publisher: Endpoint) -> None:
    name = scratch_name("churn")
    with proxied(publisher.url) as between, Client(replace(publisher, url=between.url)) as client:
        recipe = recipe_of(client, load_pipeline("churn", shipped() / "configs", environ={}), None)
        contract = frozen(client, recipe)
        between.add(Rule(f"INSERT INTO `{name}`".encode(), "answer", answer=exception(241, "MEMORY_LIMIT_EXCEEDED")))
        between.add(Rule(f"DROP TABLE IF EXISTS `{name}`".encode(), "answer", answer=exception(497, "ACCESS_DENIED")))
        with (
            pytest.raises(ServerError, match="MEMORY_LIMIT_EXCEEDED"),
            written(client, recipe, contract, name),
        ):
            pass
        client.run(f"DROP TABLE `{name}` SYNC")


def test_a_fit_in_this_process_reads_each_row_once_and_needs_no_ray(
    publisher: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = scratch_name("churn")
    loaded = load_pipeline("churn", shipped() / "configs", overrides=["model.rounds=5"], environ={})
    with proxied(publisher.url) as between, Client(replace(publisher, url=between.url)) as client:
        recipe = recipe_of(client, loaded, None)
        # It only counts.
        reads = Rule(f"x, label FROM `{name}`".encode(), "answer", skip=1_000)
        between.add(reads)
        train, before = labelled._train, []
        monkeypatch.setattr(labelled, "_train", lambda *given: before.append(reads.seen) or train(*given))
        fitted = fit_version(client, recipe, name, None, silent)
    # The rows of the test take no memory from the fit.
    assert before == [len(PARTS) - 1]
    assert reads.seen == len(PARTS)
    assert len(fitted.x) == fitted.rows["train"]
    assert not needs_ray(loaded.config)
    assert needs_ray(load_pipeline("churn", shipped() / "configs", overrides=["model.workers=1"], environ={}).config)


def test_the_fewest_rows_of_both_queries_decide_which_share_is_kept(client: Client) -> None:
    never = "SELECT throwIf(1)"
    many, few = "SELECT number FROM numbers(1000)", "SELECT number FROM numbers(240)"
    assert kept_share(client, 120, (few, many), {}) == pytest.approx(0.5)
    assert kept_share(client, 120, (many, few), {}) == pytest.approx(0.5)
    # Features are expensive, and mostly there are few labels.
    assert kept_share(client, 120, ("SELECT number FROM numbers(100)", never), {}) == 1


def test_all_training_snapshots_together_keep_to_the_limit_and_the_test_keeps_its_rows(publisher: Endpoint) -> None:
    counts = []
    with Client(publisher) as client:
        for most in (2_000_000, 300):
            loaded = load_pipeline("churn", shipped() / "configs", [f"split.max_train_rows={most}"], {})
            recipe = recipe_of(client, loaded, None)
            with written(client, recipe, frozen(client, recipe), scratch_name("churn")) as table:
                counts.append(table.rows)
    whole, limited = counts
    assert whole["train"] > 600
    # A sample by hash.
    assert 200 < limited["train"] < 400
    assert limited["test"] == whole["test"]


SHOWN = ("total_sessions", "current_subscription_tier", "avg_pages_per_session")


def spoiled(recipe: Recipe, replaced: str) -> Recipe:
    """Return the recipe with three features, of whose columns some are replaced in the query."""
    features = tuple(feature for feature in recipe.features if feature.name in SHOWN)
    sql = f"SELECT * REPLACE ({replaced}) FROM (\n{recipe.features_sql.text}\n)"
    return replace(recipe, features=features, features_sql=Statement(sql, source="features.sql"))


def test_features_with_one_value_are_left_out_and_the_others_keep_their_rows(publisher: Endpoint) -> None:
    with Client(publisher) as client:
        recipe = recipe_of(client, load_pipeline("churn", shipped() / "configs", environ={}), None)
        recipe = spoiled(recipe, "CAST(NULL AS Nullable(Float32)) AS avg_pages_per_session, 3 AS total_sessions")
        with written(client, recipe, frozen(client, recipe), scratch_name("churn")) as table:
            kept = telling(client, table)
            assert kept.left_out == ("total_sessions", "avg_pages_per_session")
            assert kept.empty == ("avg_pages_per_session",)
            assert kept.read.columns == tuple(c for c in table.contract.columns if c.startswith("current_sub"))
            places = [table.contract.columns.index(name) for name in kept.read.columns]
            for part in PARTS:
                whole, own = read_part(client, table, part), read_part(client, kept, part)
                assert np.array_equal(own.x, whole.x[:, places], equal_nan=True)
                assert np.array_equal(own.y, whole.y)
            # Joined without a copy.
            train, validation = read_parts(client, kept, ("train", "validation"))
            assert np.array_equal(validation.x, read_part(client, kept, "validation").x, equal_nan=True)
            assert np.shares_memory(train.joined(validation).x, train.x)
            # As Ray's workers read them.
            sql = f"SELECT sumForEach(x) FROM ({part_query(kept).replace('{slice}', '1')})"
            sums = client.value(sql, {"part": "train"})
            assert sums == pytest.approx(read_part(client, kept, "train").x.sum(axis=0))


def test_where_no_feature_tells_anything_all_stay(publisher: Endpoint) -> None:
    with Client(publisher) as client:
        recipe = recipe_of(client, load_pipeline("churn", shipped() / "configs", environ={}), None)
        recipe = spoiled(
            recipe, "1.5 AS avg_pages_per_session, 3 AS total_sessions, 'free' AS current_subscription_tier"
        )
        with written(client, recipe, frozen(client, recipe), scratch_name("churn")) as table:
            assert telling(client, table) == table
