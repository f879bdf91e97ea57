"""Test fingerprints: the same for the same rows in any order, and different for any other value."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.score.fingerprints import SAMPLE, Fingerprints, Sampler, combined, condition, spacing, taken

MATRIX = ("sessions", "tier=free")
PLAIN = ("tier", "seen")
FLOATS = st.floats(width=32, allow_nan=True)
ROW = st.tuples(
    FLOATS, FLOATS, st.one_of(st.none(), st.binary(max_size=4)), st.one_of(st.none(), st.integers(0, 2**63 - 1))
)
ROWS = st.dictionaries(st.integers(0, 2**64 - 1), ROW, min_size=1, max_size=20)


def batch(rows: dict[int, Any]) -> pa.RecordBatch:
    keys, values = list(rows), list(rows.values())
    return pa.record_batch(
        {
            "key_hash": pa.array(keys, pa.uint64()),
            "x": pa.array([row[:2] for row in values], pa.list_(pa.float32())),
            "tier": pa.array([row[2] for row in values], pa.binary()),
            "seen": pa.array([row[3] for row in values], pa.int64()),
        }
    )


def prints(*batches: pa.RecordBatch, every: int = 1) -> Fingerprints:
    sampler = Sampler(every, MATRIX, PLAIN)
    for rows in batches:
        sampler.add(rows, np.asarray(rows.column("x").to_pylist(), np.float32).reshape(-1, 2))
    made = sampler.fingerprints()
    assert made is not None
    return made


def same(one: Fingerprints, other: Fingerprints) -> bool:
    return bool(np.array_equal(one.keys, other.keys) and np.array_equal(one.marks, other.marks))


@settings(derandomize=True, deadline=None)
@given(ROWS, st.randoms(use_true_random=False), st.integers(0, 20))
def test_neither_the_order_of_rows_nor_the_cut_of_slices_matters(rows: dict[int, Any], random: Any, cut: int) -> None:
    shuffled = list(rows.items())
    random.shuffle(shuffled)
    parts = [prints(batch(dict(part))) for part in (shuffled[:cut], shuffled[cut:]) if part]
    random.shuffle(parts)
    joined = combined(parts)
    assert joined is not None
    assert same(joined, prints(batch(rows)))


@settings(derandomize=True, deadline=None)
@given(ROWS, st.integers(0, 3), ROW)
def test_a_changed_value_changes_its_column_alone(rows: dict[int, Any], column: int, other: Any) -> None:
    key = next(iter(rows))
    changed = (*rows[key][:column], other[column], *rows[key][column + 1 :])
    # Of 65,536 changes a mark misses one, so that the row stands under three keys.
    then, now = (prints(batch({**rows, **dict.fromkeys((101, 102, 103), row)})) for row in (rows[key], changed))
    differs = (then.marks != now.marks).any(axis=0).tolist()
    is_equal = rows[key][column] == other[column] or all(
        isinstance(value, float) and math.isnan(value) for value in (rows[key][column], other[column])
    )
    assert differs == [at == column and not is_equal for at in range(4)]


def test_values_that_change_places_are_seen() -> None:
    rows = {1: (1.0, 0.0, b"a", 5), 2: (2.0, 0.0, b"a", 5)}
    swapped = {1: (2.0, 0.0, b"a", 5), 2: (1.0, 0.0, b"a", 5)}
    assert (prints(batch(rows)).marks != prints(batch(swapped)).marks).sum(axis=0).tolist() == [2, 0, 0, 0]


def test_one_value_has_another_mark_for_each_key() -> None:
    # Otherwise two values with the same 16 bits would hide a change of every entity.
    made = prints(batch({key: (1.0, 0.0, b"a", 5) for key in range(1000)}))
    assert all(len(np.unique(column)) > 900 for column in made.marks.T)


def test_every_nan_is_equal_and_zero_has_no_sign() -> None:
    other = np.array([0x7FC00001], np.uint32).view(np.float32)[0]
    assert np.isnan(other)
    assert same(prints(batch({1: (math.nan, 0.0, b"", 0)})), prints(batch({1: (other, -0.0, b"", 0)})))


def test_null_is_neither_nothing_nor_zero() -> None:
    null, empty = prints(batch({1: (0.0, 0.0, None, None)})), prints(batch({1: (0.0, 0.0, b"", 0)}))
    assert (null.marks != empty.marks).tolist() == [[False, False, True, True]]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["a", "b"], pa.string()),
        ([True, False], pa.bool_()),
        ([-1, 2**62], pa.int64()),
        ([1, 2**64 - 1], pa.uint64()),
        ([date(2026, 1, 30), date(2026, 1, 31)], pa.date32()),
        ([datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)], pa.timestamp("us", tz="UTC")),
        ([Decimal("1.10"), Decimal("1.20")], pa.decimal128(9, 2)),
        ([0.1, 0.2], pa.float64()),
        ([["a"], ["a", "b"]], pa.list_(pa.string())),
        ([[0.5], [0.25]], pa.list_(pa.float64())),
        ([[], None], pa.list_(pa.string())),
    ],
)
def test_values_of_a_type_have_fingerprints(values: list[Any], kind: pa.DataType) -> None:
    def of(value: Any) -> list[int]:
        rows = pa.record_batch(
            {
                "key_hash": pa.array([7], pa.uint64()),
                "x": pa.array([[]], pa.list_(pa.float32())),
                "v": pa.array([value], kind),
            }
        )
        sampler = Sampler(1, (), ("v",))
        sampler.add(rows, np.empty((1, 0), np.float32))
        made = sampler.fingerprints()
        assert made is not None
        return [int(mark) for mark in made.marks[0]]

    first, second = (of(value) for value in values)
    assert len(first) == len(second) == 1
    assert first != second
    assert first == of(values[0])


def test_text_that_is_not_utf8_has_a_fingerprint() -> None:
    raw = pa.array([b"\xff\xfe"], pa.binary())
    broken = pa.Array.from_buffers(pa.string(), 1, raw.buffers())
    rows = pa.record_batch({"key_hash": pa.array([7], pa.uint64()), "v": broken})
    sampler = Sampler(1, (), ("v",))
    sampler.add(rows, np.empty((1, 0), np.float32))
    assert sampler.fingerprints() is not None


def test_sums_in_another_order_are_equal() -> None:
    def of(value: float) -> Fingerprints:
        sampler = Sampler(1, (), ("v",))
        rows = {"key_hash": pa.array([7], pa.uint64()), "v": pa.array([value], pa.float64())}
        sampler.add(pa.record_batch(rows), np.empty((1, 0), np.float32))
        made = sampler.fingerprints()
        assert made is not None
        return made

    assert 0.1 + 0.2 + 0.3 != 0.3 + 0.2 + 0.1
    assert same(of(0.1 + 0.2 + 0.3), of(0.3 + 0.2 + 0.1))


def test_a_column_without_fingerprints_is_left_out() -> None:
    rows = pa.record_batch(
        {
            "key_hash": pa.array([7], pa.uint64()),
            "m": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
            "v": pa.array([1], pa.int64()),
        }
    )
    sampler = Sampler(1, (), ("m", "v", "v"))
    sampler.add(rows, np.empty((1, 0), np.float32))
    made = sampler.fingerprints()
    assert made is not None
    assert made.columns == ("v",)


def test_a_repeated_key_differs_from_a_single_one_in_any_order() -> None:
    one, other = batch({1: (1.0, 0.0, b"a", 5)}), batch({1: (2.0, 0.0, b"a", 5)})
    assert same(prints(one, other), prints(other, one))
    assert not same(prints(one, other), prints(one))


def test_they_survive_their_json() -> None:
    made = prints(batch({3: (1.0, 2.0, b"a", 5), 2**64 - 1: (3.0, 4.0, None, 6)}))
    read = Fingerprints.from_json(made.to_json())
    assert (read.every, read.columns) == (1, (*MATRIX, *PLAIN))
    assert same(read, made)


def test_no_rows_have_no_fingerprints() -> None:
    assert Sampler(1, MATRIX, PLAIN).to_json() == {}
    made = prints(batch({1: (1.0, 2.0, b"a", 5)}))
    assert len(taken(pa.Table.from_batches([], batch({}).schema), made).keys) == 0


@pytest.mark.parametrize(
    ("rows", "every"), [(0, 1), (300, 1), (2047, 1), (2048, 2), (10_000, 9), (1_000_000, 976), (10**12, 976562500)]
)
def test_the_sample_has_about_a_thousand_entities(rows: int, every: int) -> None:
    assert spacing(rows) == every
    assert every == 1 or SAMPLE <= rows // every <= 1.5 * SAMPLE


def test_the_sample_is_the_keys_with_the_smallest_hashes() -> None:
    rows = {key << 58: (1.0, 0.0, b"a", 5) for key in range(64)}
    assert (prints(batch(rows), every=4).keys >> np.uint64(58)).tolist() == list(range(16))
    assert condition(4) == f"ifNull(key_hash, 0) <= {(2**64 - 1) // 4}"
