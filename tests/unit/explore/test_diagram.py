"""Test the layout of the relationship diagram."""

from __future__ import annotations

from raypipe.explore.diagram import draw
from raypipe.explore.facts import Relation


def refers(child: str, parent: str, coverage: float | None = 1.0, column: str = "x_id") -> Relation:
    return Relation(child, column, parent, column, coverage=coverage)


def columns(*relations: Relation) -> list[set[str]]:
    """The tables by where they stand, from left to right."""
    boxes = draw(relations).boxes
    return [{box.table for box in boxes if box.x == x} for x in sorted({box.x for box in boxes})]


def test_a_table_stands_to_the_right_of_all_that_it_refers_to() -> None:
    chain = [
        refers("events", "sessions"),
        refers("sessions", "users"),
        refers("events", "users"),
        refers("shops", "users"),
    ]
    assert columns(*chain) == [{"users"}, {"sessions", "shops"}, {"events"}]


def test_a_reference_that_the_data_refutes_is_not_drawn() -> None:
    assert columns(refers("a", "b", 0.0), refers("c", "d", None)) == []
    assert draw([]).boxes == ()


def test_two_columns_with_one_parent_are_one_line_which_is_broken_where_one_is() -> None:
    (line,) = draw([refers("a", "b", 1.0, "p_id"), refers("a", "b", 0.5, "q_id")]).lines
    assert not line.holds
    assert line.title.splitlines() == ["a.p_id → b.p_id: 100.0 % of values", "a.q_id → b.q_id: 50.0 % of values"]


def test_a_reference_that_nearly_holds_is_not_told_to_hold_wholly() -> None:
    (line,) = draw([refers("a", "b", 0.9999)]).lines
    assert line.title.endswith("> 99.9 % of values")


def test_circles_and_references_to_itself_end() -> None:
    drawn = draw([refers("a", "b"), refers("b", "c"), refers("c", "a"), refers("tree", "tree")])
    assert {box.table for box in drawn.boxes} == {"a", "b", "c", "tree"}
    assert len(drawn.lines) == 3


def test_a_long_chain_has_a_place_for_every_table() -> None:
    assert len(columns(*(refers(f"t{n + 1:04}", f"t{n:04}") for n in range(2000)))) == 2001


def test_boxes_do_not_overlap_and_lie_inside() -> None:
    drawn = draw([refers(f"child_{n}", f"parent_{n % 3}") for n in range(20)])
    places = {(box.x, box.y) for box in drawn.boxes}
    assert len(places) == len(drawn.boxes)
    assert all(box.x + box.width <= drawn.width and box.y + box.height <= drawn.height for box in drawn.boxes)


def test_neighbours_in_a_column_follow_their_parents() -> None:
    crossed = [refers("a", "z"), refers("b", "y"), refers("c", "x")]
    boxes = {box.table: box.y for box in draw(crossed).boxes}
    assert [boxes["a"], boxes["b"], boxes["c"]] == [boxes["z"], boxes["y"], boxes["x"]]
