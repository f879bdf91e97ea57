"""Test the recommender behind the model protocol: a list for any reader of any brand."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from raypipe.errors import ModelError
from raypipe.models.model import Answer, Rows, WideModel, answer
from raypipe.models.protocol import load_family
from raypipe.recommend.histories import HISTORY, INPUTS
from raypipe.recommend.hybrid import HybridModel, HybridRecommender
from raypipe.recommend.ranker import Ranker
from tests.unit.recommend.readers import AT, fitted, users

PATH = "raypipe.recommend.hybrid:HybridRecommender"
READERS = (
    ("brand 0", "", {"a1": 1.0, "a5": 1.0}),
    ("brand 0", "", {}),
    ("a brand without an article", "", {}),
    ("brand 1", "no such category", {"an article that is gone": 1.0}),
)


@pytest.fixture(scope="module")
def model() -> HybridModel:
    return HybridModel(fitted())


def rows(*readers: tuple[str, str, dict[str, float]], days: int = 0) -> Rows:
    found = users(*readers)
    columns = (found.brand_ids, found.category_ids, found.items, found.weights)
    x = np.zeros((len(readers), 3), np.float32)
    return Rows(x, dict(zip(INPUTS, columns, strict=True)), AT + timedelta(days=days))


def lists(found: Answer) -> list[list[str]]:
    return [list(value) for value in found.columns["articles"].to_pylist()]


def test_the_family_is_one_that_a_config_can_name(model: HybridModel) -> None:
    family = load_family(PATH)
    assert isinstance(family, HybridRecommender)
    assert isinstance(model, WideModel)
    assert not family.explains
    assert load_family("raypipe.models.xgboost:XGBoost").explains


def test_an_answer_has_the_rankers_lists_in_the_order_of_the_readers(model: HybridModel) -> None:
    found = answer(model, rows(*READERS))
    ranked = Ranker(model.recommender, at=AT).rank(users(*READERS))
    ids = model.recommender.catalogue.ids.to_pylist()
    assert lists(found) == [[ids[item] for item in ranked.items[ranked.users == user]] for user in range(4)]
    assert found.columns.keys() == model.outputs.keys()
    for scores in found.columns["scores"].to_pylist():
        assert scores == sorted(scores, reverse=True)


def test_who_read_nothing_gets_what_is_popular_and_a_brand_without_articles_an_empty_list(
    model: HybridModel,
) -> None:
    found = answer(model, rows(*READERS))
    assert [len(one) for one in lists(found)] == [10, 10, 0, 10]
    assert found.columns["popular"].to_pylist() == [0, 1, 0, 1]
    # A score that is not finite would reject the reader; 0 keeps everybody in.
    assert np.isfinite(found.scores).all()
    assert found.scores[2] == 0


def test_the_length_of_a_list_is_a_parameter() -> None:
    recommender = fitted()
    short = HybridModel(replace(recommender, params=replace(recommender.params, length=3)))
    assert [len(one) for one in lists(answer(short, rows(*READERS)))] == [3, 3, 0, 3]


def test_a_later_day_has_other_lists_and_in_the_end_none(model: HybridModel) -> None:
    aged = HybridModel(replace(model.recommender, params=replace(model.recommender.params, max_age_days=14.0)))
    assert any(lists(answer(aged, rows(*READERS))))
    assert not any(lists(answer(aged, rows(*READERS, days=1000))))


def test_it_comes_back_from_its_files_and_answers_the_same(model: HybridModel) -> None:
    again = HybridRecommender().from_files(model.files())
    first, second = (answer(one, rows(*READERS)) for one in (model, again))
    assert lists(first) == lists(second)
    assert np.array_equal(first.scores, second.scores)


def test_no_readers_give_no_rows(model: HybridModel) -> None:
    empty = rows(*READERS)
    none = Rows(empty.x[:0], {name: column.slice(0, 0) for name, column in empty.inputs.items()}, AT)
    found = answer(model, none)
    assert (len(found.scores), [len(column) for column in found.columns.values()]) == (0, [0, 0, 0])


def test_a_reader_without_the_inputs_is_refused_with_what_is_missing(model: HybridModel) -> None:
    whole = rows(*READERS)
    inputs = {name: column for name, column in whole.inputs.items() if name != "read_weights"}
    with pytest.raises(ModelError, match="histories") as refused:
        model.answer(Rows(whole.x, inputs, AT))
    assert "read_weights" in str(refused.value)
    with pytest.raises(ModelError, match="not a matrix"):
        model.predict(whole.x)


def test_a_table_without_brands_and_categories_needs_neither(model: HybridModel) -> None:
    catalogue = model.recommender.catalogue
    none = np.zeros(len(catalogue), np.int32)
    bare = replace(catalogue, brand_ids=pa.array([""]), brands=none, category_ids=pa.array([""]), categories=none)
    inputs = {name: rows(READERS[0]).inputs[name] for name in HISTORY}
    found = answer(
        HybridModel(replace(model.recommender, catalogue=bare)), Rows(np.zeros((1, 3), np.float32), inputs, AT)
    )
    assert len(lists(found)[0]) == 10
    assert not {"a1", "a5"} & set(lists(found)[0])


def test_numbers_of_articles_are_ids_and_not_positions(model: HybridModel) -> None:
    numbered = replace(model.recommender.catalogue, ids=pa.array([str(1000 - at) for at in range(160)]))
    inputs = {**rows(READERS[0]).inputs, "read_articles": pa.array([[999, 995]], pa.list_(pa.uint32()))}
    found = answer(
        HybridModel(replace(model.recommender, catalogue=numbered)), Rows(np.zeros((1, 3), np.float32), inputs, AT)
    )
    by_name = answer(model, rows(READERS[0]))
    assert lists(found) == [[str(1000 - int(name[1:])) for name in lists(by_name)[0]]]


def test_files_that_hold_something_else_are_refused() -> None:
    with pytest.raises(ModelError):
        HybridRecommender().from_files({"model.ubj": b"trees"})


def test_types_are_those_that_staging_will_have(model: HybridModel) -> None:
    found = answer(model, rows(*READERS)).columns
    assert found["articles"].type == pa.list_(pa.string())
    assert found["scores"].type == pa.list_(pa.float32())
    assert found["popular"].type == pa.uint8()
