"""Test that the slices of several shards become one slicing, and that each keeps to its shard."""

from __future__ import annotations

from raypipe.data.slices import Slice, Slicing, together

KEYS = ("user_id",)


def ranges(rows: int, *bounds: str) -> Slicing:
    edges = [None, *((bound,) for bound in bounds), None]
    pieces = tuple(Slice(i, edges[i], edges[i + 1]) for i in range(len(edges) - 1))
    return Slicing("index" if bounds else "whole", KEYS, ("String",), pieces, rows)


def test_slices_are_numbered_across_the_shards() -> None:
    joined = together([ranges(20, "k"), ranges(30, "m", "t")])
    assert [(piece.index, piece.shard) for piece in joined.slices] == [(0, 0), (1, 0), (2, 1), (3, 1), (4, 1)]
    assert [piece.lower for piece in joined.slices] == [None, ("k",), None, ("m",), ("t",)]
    assert (joined.method, joined.rows) == ("index", 50)


def test_a_shard_that_is_read_whole_keeps_the_bounds_of_the_others() -> None:
    joined = together([Slicing("whole", (), (), (Slice(0),), 3), ranges(30, "m")])
    assert joined.columns == KEYS
    assert joined.predicate(joined.slices[0]) == "1"
    assert "user_id" in joined.predicate(joined.slices[1])


def test_buckets_of_a_hash_are_counted_on_their_shard() -> None:
    pieces = [Slicing("hash", KEYS, ("String",), tuple(Slice(i, bucket=i) for i in range(n)), n) for n in (2, 3)]
    joined = together(pieces)
    assert [joined.predicate(piece).partition(" % ")[2] for piece in joined.slices] == [
        *("2 = 0", "2 = 1", "3 = 0", "3 = 1", "3 = 2")
    ]
