"""Test the contract without a server: its columns, its identity and the zero-copy matrix."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raypipe.artifact.contract import Contract, FrozenFeature, key_hash, matrix, require_columns
from raypipe.errors import DataError, ModelError, UsageError

SESSIONS = FrozenFeature("sessions", "number", "UInt32", missing=(0,), monotone=-1)
TIER = FrozenFeature("tier", "category", "String", "onehot", ("free", "it's"), default=0.0)
DEVICE = FrozenFeature("device", "category", "String", "ordinal", ("a", "b", "c"))
CONTRACT = Contract(("user",), ("String",), ("name",), ("String",), (SESSIONS, TIER, DEVICE))


def lists(rows: list[Any], kind: Any = None) -> pa.Array:
    return pa.array(rows, kind or pa.list_(pa.float32()))


def address(values: np.ndarray) -> int:
    return int(values.__array_interface__["data"][0])


def test_a_onehot_category_has_a_column_a_value_and_the_others_one() -> None:
    assert CONTRACT.columns == ("sessions", "tier=free", "tier=it's", "device")


def test_each_matrix_column_has_the_constraint_of_its_feature() -> None:
    known = replace(CONTRACT, features=(SESSIONS, replace(TIER, monotone=1), DEVICE))
    assert known.monotone == (-1, 1, 1, 0)


def test_the_contract_survives_its_json() -> None:
    restored = Contract.from_json(json.loads(json.dumps(CONTRACT.to_json())))
    assert restored == CONTRACT
    assert restored.sha256 == CONTRACT.sha256


WIDE = replace(
    CONTRACT, inputs=("name", "words"), input_types=("String", "Array(String)"), parameters={"days": 30, "kinds": ["a"]}
)


def test_inputs_and_parameters_travel_with_the_contract() -> None:
    restored = Contract.from_json(json.loads(json.dumps(WIDE.to_json())))
    assert restored == WIDE
    assert restored.sha256 == WIDE.sha256
    assert WIDE.sha256 not in (CONTRACT.sha256, replace(WIDE, parameters={"days": 31, "kinds": ["a"]}).sha256)


def test_a_column_that_is_carried_and_an_input_is_read_once() -> None:
    assert WIDE.select("SELECT 1").startswith("SELECT `user`, `name`, `words`, cityHash64(")


def test_an_input_of_another_type_is_refused() -> None:
    types = {"user": "String", "name": "String", "words": "String", "sessions": "UInt32", "tier": "String"}
    with pytest.raises(DataError, match=r"words: String instead of Array\(String\)"):
        WIDE.check({**types, "device": "String"})


@pytest.mark.parametrize(
    "change",
    [
        {"type": "UInt64"},
        {"missing": (0, 1)},
        {"default": 0.0},
        {"monotone": 0},
        {"name": "other"},
    ],
)
def test_whatever_changes_the_matrix_changes_the_contracts_identity(change: dict[str, Any]) -> None:
    other = replace(CONTRACT, features=(replace(SESSIONS, **change), TIER, DEVICE))
    assert other.sha256 != CONTRACT.sha256
    assert replace(CONTRACT, features=(TIER, SESSIONS, DEVICE)).sha256 != CONTRACT.sha256


@pytest.mark.parametrize("document", [{}, {**CONTRACT.to_json(), "features": [{"nam": "x"}]}, {"keys": 1}])
def test_a_document_that_is_no_contract_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=r"contract\.json"):
        Contract.from_json(document)


def test_a_column_that_is_no_name_never_reaches_the_query() -> None:
    with pytest.raises(UsageError, match="This name cannot be used"):
        replace(CONTRACT, features=(replace(SESSIONS, name="a), (SELECT 1"),)).select("SELECT 1")


def test_a_word_with_a_quote_stays_inside_its_literal() -> None:
    assert r"'it\'s'" in CONTRACT.matrix_expression()
    assert "'it's'" not in CONTRACT.matrix_expression()


def test_the_parts_of_a_key_are_hashed_apart() -> None:
    assert key_hash(["a", "b"]) == "cityHash64(toString(`a`), toString(`b`))"


def test_a_query_that_yields_the_fitted_types_passes_and_may_have_more() -> None:
    CONTRACT.check(
        {"user": "String", "name": "String", "sessions": "UInt32", "tier": "String", "device": "String", "more": "Date"}
    )


def test_every_column_that_changed_is_listed() -> None:
    with pytest.raises(DataError) as refused:
        CONTRACT.check({"user": "UInt64", "name": "String", "sessions": "Nullable(UInt32)", "tier": "String"})
    assert refused.value.found == (
        "user: UInt64 instead of String; sessions: Nullable(UInt32) instead of UInt32;"
        " device: missing instead of String"
    )


def test_a_column_under_another_name_is_listed_as_missing_and_as_added() -> None:
    with pytest.raises(DataError) as refused:
        CONTRACT.check({"user": "String", "name": "String", "sessions": "UInt32", "tier": "String", "gadget": "String"})
    assert refused.value.found == "device: missing instead of String; gadget: added, String"
    assert "--changed-contract" in str(refused.value.next_step)


def test_a_missing_column_names_the_nearest() -> None:
    with pytest.raises(DataError, match="'totl_sessions' is not a column of x") as refused:
        require_columns({"total_sessions": "UInt32", "zzz": "UInt8"}, ["totl_sessions"], "feature", "x")
    assert refused.value.allowed == "did you mean total_sessions?"


def test_a_missing_column_like_no_other_names_none() -> None:
    with pytest.raises(DataError) as refused:
        require_columns({"zzz": "UInt8"}, ["sessions"], "feature", "x")
    assert refused.value.allowed is None


def test_the_matrix_is_arrows_own_memory() -> None:
    column = lists([[1, 2], [3, 4], [5, 6]])
    found = matrix(column, 2)
    assert address(found) == column.flatten().buffers()[1].address
    assert address(found) == column.values.buffers()[1].address
    np.testing.assert_array_equal(found, [[1, 2], [3, 4], [5, 6]])


def test_the_matrix_of_a_slice_is_the_slices_own_part_of_the_memory() -> None:
    column = lists([[1, 2], [3, 4], [5, 6]])
    found = matrix(column.slice(1, 2), 2)
    assert address(found) == column.values.buffers()[1].address + 2 * 4
    np.testing.assert_array_equal(found, [[3, 4], [5, 6]])


def test_the_matrix_of_one_chunk_is_not_copied_and_of_several_is_in_their_order() -> None:
    column = lists([[1, 2], [3, 4]])
    single = pa.chunked_array([lists([]), column])
    assert address(matrix(single, 2)) == column.values.buffers()[1].address
    np.testing.assert_array_equal(matrix(pa.chunked_array([column, lists([[5, 6]])]), 2), [[1, 2], [3, 4], [5, 6]])


@pytest.mark.parametrize("column", [lists([]), pa.chunked_array([], pa.list_(pa.float32())), lists([[1, 2]]).slice(1)])
def test_no_rows_make_a_matrix_of_the_width_asked_for(column: Any) -> None:
    found = matrix(column, 3)
    assert found.shape == (0, 3)
    assert found.dtype == np.float32


def test_the_width_follows_from_the_rows_where_it_is_not_given() -> None:
    assert matrix(lists([[1, 2, 3]])).shape == (1, 3)


@pytest.mark.parametrize(
    ("column", "width"),
    [
        (lists([[1, 2], [3, 4]]), 3),
        (lists([[1, 2], [3]]), None),
        (lists([[1, 2], None]), 2),
        (lists([[1, 2]], pa.list_(pa.float64())), 2),
    ],
)
def test_rows_of_another_width_or_type_are_refused(column: pa.Array, width: int | None) -> None:
    with pytest.raises(DataError, match="wrong shape"):
        matrix(column, width)
