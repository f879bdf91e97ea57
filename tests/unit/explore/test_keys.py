"""Which columns are tried as keys."""

from __future__ import annotations

from raypipe.explore.facts import ColumnProfile
from raypipe.explore.keys import candidates


def column(
    name: str, type_: str = "String", kind: str = "text", distinct: int | None = 100, nulls: int = 0
) -> ColumnProfile:
    return ColumnProfile(name, type_, kind, nulls=nulls, distinct=distinct)


def test_columns_with_about_as_many_values_as_rows_are_tried_identifiers_first() -> None:
    columns = [column("email", distinct=95), column("brand_id", distinct=94), column("user_id")]
    assert candidates(columns, 100) == ["user_id", "email"]


def test_at_most_four_are_tried() -> None:
    assert len(candidates([column(f"c{number}") for number in range(9)], 100)) == 4


def test_what_is_null_somewhere_a_fraction_or_not_counted_identifies_nothing() -> None:
    columns = [
        column("absent_id", nulls=1),
        column("amount", "Float64", "number"),
        column("price", "Decimal(9, 2)", "number"),
        column("at", "DateTime", "time"),
        column("unknown_id", distinct=None),
    ]
    assert candidates(columns, 100) == []
    assert candidates([column("only_id", distinct=1)], 1) == []
