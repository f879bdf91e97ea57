"""Test recommending to batches: filters, the hybrid score, cold users, and audiences of any size."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from raypipe.errors import DataError, UsageError
from raypipe.recommend import catalogue as catalogues
from raypipe.recommend import interactions, ranker
from raypipe.recommend.als import FoldIn
from raypipe.recommend.histories import Users, histories_of
from raypipe.recommend.parameters import ListParameters
from raypipe.recommend.ranker import RankedItems, Ranker
from raypipe.recommend.recommender import Recommender, fit_recommender
from tests.unit.recommend.readers import (
    ARTICLES,
    AT,
    BRANDS,
    CONTENT,
    DAY,
    KEYS,
    NOW,
    PARAMS,
    TOPICS,
    articles,
    events,
    fitted,
    users,
)  # fmt: skip

TOPIC_1 = {"a1": 1.0, "a5": 1.0, "a9": 1.0}


@pytest.fixture(scope="module")
def recommender() -> Recommender:
    return fitted()


def everybody() -> Users:
    """Every reader of the fit with what they read."""
    read = events().group_by(["brand_id", "user_id"]).aggregate([("article_id", "list"), ("weight", "list")])
    nobody = pa.array([""] * read.num_rows)
    columns = [read.column(name).combine_chunks() for name in ("brand_id", "article_id_list", "weight_list")]
    return Users(columns[0], nobody, columns[1], columns[2])


def names(found: RankedItems, recommender: Recommender, user: int = 0) -> list[str]:
    return [recommender.catalogue.ids[int(item)].as_py() for item in found.items[found.users == user]]


def test_readers_get_more_of_what_they_read(recommender: Recommender) -> None:
    found = Ranker(recommender, at=AT).rank(users(("brand 0", "", TOPIC_1)))
    assert {int(name[1:]) % TOPICS for name in names(found, recommender)} == {1}


def test_a_list_has_ranks_from_1_and_falling_scores(recommender: Recommender) -> None:
    found = Ranker(recommender, at=AT, n=7).rank(everybody())
    assert found.ranks.tolist() == list(range(1, 8)) * 300
    assert (np.diff(found.scores)[found.ranks[1:] > 1] <= 0).all()


def test_nothing_is_recommended_that_was_read_or_of_another_brand(recommender: Recommender) -> None:
    audience = everybody()
    found = Ranker(recommender, at=AT, n=BRANDS * ARTICLES).rank(audience)
    for user in range(len(audience.brand_ids)):
        recommended = set(names(found, recommender, user))
        read = set(audience.items[user].as_py())
        own = {
            f"a{n}" for n in range(BRANDS * ARTICLES) if f"brand {n // ARTICLES}" == audience.brand_ids[user].as_py()
        }
        assert recommended == own - read


def test_nothing_is_recommended_from_after_the_date_or_too_old(recommender: Recommender) -> None:
    at = AT - timedelta(days=5)
    young = replace(recommender, params=replace(PARAMS, max_age_days=3))
    found = Ranker(young, at=at, n=ARTICLES).rank(users(("brand 0", "", TOPIC_1), ("brand 0", "topic 1", {})))
    for user in (0, 1):
        published = recommender.catalogue.published[found.items[found.users == user]]
        assert published.max() < NOW - 5 * DAY
        assert published.min() >= NOW - 8 * DAY
        assert len(published) == 12 - (user == 0) * sum(20 < int(name[1:]) <= 31 for name in TOPIC_1)


def test_the_score_is_the_weighted_sum_of_its_parts() -> None:
    params = replace(PARAMS, als=0.7, neighbours=0.6, content=0.3, popularity=0.2, freshness=0.4)
    recommender = fitted(params)
    audience = users(("brand 1", "", {"a81": 1.0, "a85": 2.0}))
    found = Ranker(recommender, at=AT).rank(audience)
    catalogue, weights = recommender.catalogue, histories_of(audience, recommender.catalogue).weights
    preference = recommender.factors @ FoldIn(recommender.factors, params.factorisation)(weights)[0]
    profile = (weights @ catalogue.content)[0]
    similarity = catalogue.content @ profile / np.linalg.norm(profile)
    youth = np.exp2(-(NOW - catalogue.published) / DAY / 3)
    nearness = (recommender.nearest[81] + recommender.nearest[85]).toarray()[0]
    assert nearness[found.items].max() > 0
    expected = 0.7 * preference + 0.6 * nearness + 0.3 * similarity + 0.2 * catalogue.popularity + 0.4 * youth
    np.testing.assert_allclose(found.scores, expected[found.items], atol=1e-5)
    rest = np.setdiff1d(np.arange(ARTICLES, 2 * ARTICLES), [*found.items, 81, 85])
    assert expected[rest].max() <= found.scores.min() + 1e-5


def test_without_content_and_popularity_the_order_is_that_of_implicit() -> None:
    from implicit.cpu.als import AlternatingLeastSquares

    params = replace(PARAMS, als=1.0, content=0.0, popularity=0.0, freshness=0.0)
    recommender = fitted(params)
    audience = users(("brand 0", "", TOPIC_1))
    found = Ranker(recommender, at=AT).rank(audience)
    model = AlternatingLeastSquares(factors=8, regularization=0.1, num_threads=1)
    model.item_factors = recommender.factors
    weights = histories_of(audience, recommender.catalogue).weights
    weights.data = 1 + np.float32(params.factorisation.alpha) * weights.data
    items, scores = model.recommend([0], weights, N=10, recalculate_user=True, items=np.arange(ARTICLES))
    assert found.items.tolist() == items[0].tolist()
    np.testing.assert_allclose(found.scores, scores[0], atol=1e-5)


def test_a_user_without_history_gets_the_popular_of_the_brand(recommender: Recommender) -> None:
    found = Ranker(recommender, at=AT, n=5).rank(users(("brand 1", "", {})))
    assert names(found, recommender) == ["a80", "a81", "a82", "a83", "a84"]
    assert found.popular.all()


def test_a_user_without_history_gets_the_popular_of_the_own_category_first(recommender: Recommender) -> None:
    found = Ranker(recommender, at=AT, n=22).rank(users(("brand 0", "topic 2", {})))
    assert names(found, recommender)[:3] == ["a2", "a6", "a10"]
    assert names(found, recommender)[20:] == ["a0", "a1"]
    assert (np.diff(found.scores) <= 0).all()


def test_an_unknown_brand_gets_nothing_and_disturbs_nobody(recommender: Recommender) -> None:
    found = Ranker(recommender, at=AT, n=3).rank(
        users(("gone", "", TOPIC_1), ("brand 0", "gone", {}), ("brand 0", "", TOPIC_1))
    )
    assert np.bincount(found.users).tolist() == [0, 3, 3]


def test_articles_that_the_catalogue_lacks_are_no_history(recommender: Recommender) -> None:
    found = Ranker(recommender, at=AT, n=3).rank(users(("brand 0", "", {"gone": 1.0}), ("brand 0", "", {"a81": 1.0})))
    assert found.popular.all()
    assert names(found, recommender, 1) == ["a0", "a1", "a2"]


def test_missing_values_are_unknown(recommender: Recommender) -> None:
    lists = pa.array([None, ["a1", None]], pa.list_(pa.string()))
    weights = pa.array([None, [1.0, None]], pa.list_(pa.float32()))
    found = Ranker(recommender, at=AT, n=3).rank(
        Users(pa.array(["brand 0"] * 2), pa.array([None, None], pa.string()), lists, weights)
    )
    assert np.bincount(found.users).tolist() == [3, 3]
    assert found.popular.tolist() == [True] * 3 + [False] * 3


def test_articles_and_weights_that_differ_in_number_are_refused(recommender: Recommender) -> None:
    broken = replace(users(("brand 0", "", TOPIC_1)), weights=pa.array([[1.0]], pa.list_(pa.float32())))
    with pytest.raises(DataError, match="row 0: 3 and 1"):
        Ranker(recommender, at=AT).rank(broken)


def test_histories_may_be_positions(recommender: Recommender) -> None:
    by_id = users(("brand 0", "", TOPIC_1))
    by_position = replace(by_id, items=pa.array([[1, 5, 9]], pa.list_(pa.int32())))
    one, other = (Ranker(recommender, at=AT).rank(audience) for audience in (by_id, by_position))
    assert np.array_equal(one.items, other.items)


def test_an_article_that_stands_twice_in_a_history_is_one_with_both_weights(recommender: Recommender) -> None:
    once = users(("brand 0", "", {"a1": 2.0, "a5": 1.0}))
    items, weights = pa.array([["a1", "a5", "a1"]]), pa.array([[1.0, 1.0, 1.0]], pa.list_(pa.float32()))
    one, other = (Ranker(recommender, at=AT).rank(one) for one in (once, replace(once, items=items, weights=weights)))
    assert np.array_equal(one.items, other.items)
    np.testing.assert_allclose(one.scores, other.scores, rtol=1e-6)


def test_a_user_gets_the_same_in_any_batch_block_and_thread(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    audience = everybody()
    whole = Ranker(recommender, at=AT).rank(audience)
    monkeypatch.setattr(ranker, "BLOCK_BYTES", 4 * ARTICLES * 7)
    in_blocks = Ranker(recommender, at=AT, threads=3).rank(audience)
    np.testing.assert_allclose(whole.scores, in_blocks.scores, atol=1e-5)
    assert np.mean(whole.items == in_blocks.items) > 0.999
    assert np.array_equal(whole.users, in_blocks.users)


def test_a_sliced_batch_reads_its_own_rows(recommender: Recommender) -> None:
    read = [["a0"], ["a1"], ["a2", "a6"]], [[1.0], [1.0], [1.0, 1.0]]
    columns = [pa.array(values) for values in (["brand 0"] * 3, [""] * 3, *read)]
    whole = Ranker(recommender, at=AT).rank(Users(*columns))
    tail = Ranker(recommender, at=AT).rank(Users(*(column.slice(2) for column in columns)))
    assert tail.items.tolist() == whole.items[whole.users == 2].tolist()


def test_no_users_get_no_recommendations(recommender: Recommender) -> None:
    assert len(Ranker(recommender, at=AT).rank(users())) == 0


def test_three_users_and_two_articles_are_enough() -> None:
    few = articles().slice(0, 2)
    catalogue = catalogues.read(few, content=CONTENT, width=4)
    rows = pa.table(
        {
            "company_id": ["c"] * 3,
            "brand_id": ["brand 0"] * 3,
            "user_id": ["u", "v", "w"],
            "article_id": ["a0", "a0", "a1"],
            "weight": [1.0] * 3,
            "last_interaction_at": [1, 2, 3],
        }
    )
    small = fit_recommender(
        interactions.read(rows, catalogue.ids, keys=KEYS), catalogue, replace(PARAMS, content_width=4), threads=1
    )
    found = Ranker(small, at=AT).rank(
        users(("brand 0", "", {"a0": 1.0}), ("brand 0", "", {"a0": 1.0, "a1": 1.0}), ("brand 0", "", {}))
    )
    assert np.bincount(found.users, minlength=3).tolist() == [1, 0, 2]
    assert np.isfinite(found.scores).all()


def test_lists_end_where_candidates_do(recommender: Recommender) -> None:
    found = Ranker(recommender, at=AT, n=4).rank(users(("brand 0", "", {}), ("gone", "", {})))
    lists = found.lists(2, 4)
    assert lists.tolist() == [[0, 1, 2, 3], [-1, -1, -1, -1]]


@pytest.mark.parametrize("arguments", [{"n": 0}, {"n": 70_000}, {"threads": 0}])
def test_arguments_that_make_no_sense_are_refused(recommender: Recommender, arguments: dict[str, int]) -> None:
    with pytest.raises(UsageError):
        Ranker(recommender, at=AT, **arguments)


def test_a_part_without_a_weight_is_not_computed(recommender: Recommender) -> None:
    params = replace(PARAMS, als=0.0, neighbours=0.0, content=0.0)
    ranker = Ranker(replace(recommender, params=params, factors=None, nearest=None), at=AT, n=3)
    assert names(ranker.rank(users(("brand 0", "", {"a7": 1.0}))), recommender) == ["a0", "a1", "a2"]


def test_lists_keep_their_caps_with_and_without_a_history(recommender: Recommender) -> None:
    capped = replace(recommender, params=replace(PARAMS, lists=ListParameters(per_category=3, per_author=2)))
    found = Ranker(capped, at=AT).rank(users(("brand 0", "", TOPIC_1), ("brand 0", "topic 2", {})))
    for user in (0, 1):
        listed = names(found, recommender, user)
        assert len(set(listed)) == 10
        assert max(Counter(int(name[1:]) % TOPICS for name in listed).values()) == 3
        authors = Counter(int(name[1:]) % 7 for name in listed if int(name[1:]) % 5)
        assert max(authors.values()) == 2
        assert (np.diff(found.scores[found.users == user]) <= 0).all()
    assert names(found, recommender, 1)[:3] == ["a2", "a6", "a10"]


def test_a_category_with_one_article_is_listed_like_any_other() -> None:
    table = articles()
    table = table.set_column(2, "category_id", pa.array(["alone", *table.column("category_id").to_pylist()[1:]]))
    catalogue = catalogues.read(table, content=CONTENT, width=PARAMS.content_width)
    params = replace(PARAMS, lists=ListParameters(per_category=1))
    alone = fit_recommender(interactions.read(events(), catalogue.ids, keys=KEYS), catalogue, params, threads=1)
    found = Ranker(alone, at=AT, n=5).rank(users(("brand 0", "alone", {}), ("brand 0", "", {"a0": 1.0})))
    assert names(found, alone)[0] == "a0"
    assert "a0" not in names(found, alone, 1)
    assert len(names(found, alone, 1)) == 5


def test_an_article_without_text_is_found_by_its_readers() -> None:
    silent = articles().append_column("empty", pa.array([""] * BRANDS * ARTICLES))
    catalogue = catalogues.read(silent, content={"empty": 1.0}, width=4)
    params = replace(PARAMS, content_width=4, neighbours=1.0)
    bare = fit_recommender(interactions.read(events(), catalogue.ids, keys=KEYS), catalogue, params, threads=1)
    assert not catalogue.content.any()
    found = Ranker(bare, at=AT).rank(users(("brand 0", "", TOPIC_1)))
    assert Counter(int(name[1:]) % TOPICS for name in names(found, bare)).most_common(1)[0][0] == 1


def test_a_reader_of_ten_thousand_articles_gets_a_list() -> None:
    count = 10_010
    catalogue = catalogues.read(pa.table({"article_id": [f"a{number}" for number in range(count)]}))
    rows = {
        "company_id": ["c"] * 10_000,
        "brand_id": [""] * 10_000,
        "user_id": ["u"] * 10_000,
        "article_id": [f"a{number}" for number in range(10_000)],
        "last_interaction_at": pa.array(range(10_000), pa.int64()),
    }
    params = replace(PARAMS, neighbours=1.0, content_width=0)
    read = interactions.read(pa.table(rows), catalogue.ids, keys=KEYS)
    crawled = fit_recommender(read, catalogue, params, threads=1)
    everything = dict.fromkeys(rows["article_id"], 1.0)
    found = Ranker(crawled, at=AT).rank(users(("", "", everything), ("", "", {"a3": 1.0})))
    assert sorted(names(found, crawled)) == [f"a{number}" for number in range(10_000, 10_010)]
    assert len(names(found, crawled, 1)) == 10


def test_articles_without_dates_are_never_too_old_and_never_fresh() -> None:
    table = articles().drop_columns(["published_at", "popularity"])
    catalogue = catalogues.read(table, content=CONTENT, width=PARAMS.content_width)
    params = replace(PARAMS, max_age_days=3.0, freshness=3.2)
    undated = fit_recommender(interactions.read(events(), catalogue.ids, keys=KEYS), catalogue, params, threads=1)
    found = Ranker(undated, at=AT, n=80).rank(users(("brand 0", "", {}), ("brand 0", "", TOPIC_1)))
    assert np.bincount(found.users).tolist() == [80, 77]
    read = read_counts(undated)
    assert names(found, undated)[0] == f"a{int(np.argmax(read[:ARTICLES]))}"


def read_counts(recommender: Recommender) -> np.ndarray:
    return np.bincount(interactions.read(events(), recommender.catalogue.ids, keys=KEYS).items, minlength=160)
