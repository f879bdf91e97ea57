"""Test slicing without a server: predicates, bound values and placeholders."""

from __future__ import annotations

import pytest

from raypipe.data.slice_count import slices_of
from raypipe.data.slices import Slice, Slicing, _from_marks, has_place, place, unsliced
from raypipe.errors import UsageError

LAST = Slice(2, lower=("b", "7"))
MIDDLE = Slice(1, lower=("a", "5"), upper=("b", "7"))
SLICING = Slicing("index", ("brand", "user"), ("String", "UInt64"), (Slice(0, upper=("a", "5")), MIDDLE, LAST), 30)


def test_a_range_is_written_out_column_by_column() -> None:
    assert SLICING.predicate(LAST) == (
        "((`brand` > {slice_lower_0:String}) OR"
        " (`brand` = {slice_lower_0:String} AND `user` >= {slice_lower_1:UInt64}))"
    )
    assert SLICING.predicate(SLICING.slices[0]) == (
        "((`brand` < {slice_upper_0:String}) OR (`brand` = {slice_upper_0:String} AND `user` < {slice_upper_1:UInt64}))"
    )


def test_the_bounds_are_bound_and_never_written_into_the_text() -> None:
    assert SLICING.parameters(MIDDLE) == {
        "slice_lower_0": "a",
        "slice_lower_1": "5",
        "slice_upper_0": "b",
        "slice_upper_1": "7",
    }
    assert SLICING.parameters(Slice(0)) == {}
    hostile = Slice(0, lower=("'; DROP TABLE t", "1"))
    assert "DROP" not in SLICING.predicate(hostile)


def test_a_slice_of_everything_is_true() -> None:
    assert Slicing("whole", (), (), (Slice(0),)).predicate(Slice(0)) == "1"


def test_an_alias_qualifies_every_column() -> None:
    assert "`f`.`brand` >" in SLICING.predicate(LAST, "f")
    assert " `brand`" not in SLICING.predicate(LAST, "f")


def test_a_bucket_is_a_remainder_of_the_keys_hash() -> None:
    hashed = Slicing("hash", ("k",), ("String",), (Slice(0, bucket=0), Slice(1, bucket=1)))
    assert hashed.predicate(Slice(1, bucket=1)) == "cityHash64(ifNull(toString(`k`), '')) % 2 = 1"


def test_every_place_gets_the_predicate_in_parentheses() -> None:
    whole = Slicing("whole", (), (), (Slice(0),))
    assert place("a {slice} b {slice:f} {date:Date}", whole, Slice(0)) == "a (1) b (1) {date:Date}"
    assert unsliced("a {slice} b {slice:f} {date:Date}") == "a 1 b 1 {date:Date}"


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("WHERE {slice}", True),
        ("WHERE {slice:f}", True),
        ("-- {slice}\nSELECT 1", False),
        ("/* {slice} */", False),
        ("{slices}", False),
        ("{slice:f:g}", False),
    ],
)
def test_a_place_in_a_comment_is_none(sql: str, found: bool) -> None:
    assert has_place(sql) is found


def test_an_alias_that_is_no_name_is_refused() -> None:
    with pytest.raises(UsageError):
        SLICING.predicate(LAST, "f; DROP")


def test_the_number_of_slices_suits_the_rows() -> None:
    found = {rows: slices_of(rows, None) for rows in (0, 1, 250_000, 250_001, 480_000, 1_000_000, 2_000_000, 5_000_000)}
    assert list(found.values()) == [0, 1, 1, 2, 2, 4, 4, 10]
    assert slices_of(5_000_000, 250_000) == 20


def cut(keys: list[str], slice_rows: int, parts: int = 1, granule: int = 10) -> Slicing:
    marks = [((key,), granule, f"part {i % parts}", True) for i, key in enumerate(keys)]
    return _from_marks(("k",), ("String",), marks, slice_rows)


def test_slices_have_even_shares_of_the_granules() -> None:
    slicing = cut([f"{i:04}" for i in range(240)], slice_rows=120)
    assert len(slicing.slices) == 20
    assert [piece.upper for piece in slicing.slices[:2]] == [("0012",), ("0024",)]
    assert slicing.rows == 2400


def test_a_slice_is_never_smaller_than_twelve_granules_of_every_part() -> None:
    keys = [f"{i:04}" for i in range(240)]
    assert len(cut(keys, slice_rows=1).slices) == 20
    assert len(cut(keys, slice_rows=1, parts=4).slices) == 5
    assert len(cut(keys, slice_rows=1, parts=100).slices) == 1


def test_slices_join_without_a_gap_and_are_open_at_both_ends() -> None:
    slices = cut([f"{i:04}" for i in range(240)], slice_rows=120).slices
    assert slices[0].lower is None
    assert slices[-1].upper is None
    assert [piece.upper for piece in slices[:-1]] == [piece.lower for piece in slices[1:]]
    assert [piece.index for piece in slices] == list(range(len(slices)))


def test_granules_that_open_with_one_key_are_never_parted() -> None:
    slices = cut(["a"] * 100 + ["b"] * 100 + ["c"] * 40, slice_rows=100).slices
    assert [piece.lower for piece in slices] == [None, ("b",), ("c",)]


def test_a_key_that_is_no_text_is_passed_over() -> None:
    marks = [((f"{i:04}",), 10, "part", i % 2 == 1) for i in range(240)]
    slices = _from_marks(("k",), ("String",), marks, 120).slices
    assert len(slices) == 20
    assert all(int(piece.lower[0]) % 2 == 1 for piece in slices if piece.lower)
