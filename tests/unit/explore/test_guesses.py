"""Which references names, types and keys suggest."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from raypipe.explore.facts import ColumnProfile, Key, Sample, TableProfile
from raypipe.explore.guesses import guess
from raypipe.explore.kinds import kind_of
from raypipe.explore.names import identifies, singular, words


def table(
    name: str,
    columns: Mapping[str, str],
    *,
    sorting_key: tuple[str, ...] = (),
    unique: tuple[str, ...] = (),
    rows: int = 9,
) -> TableProfile:
    return TableProfile(
        table=name,
        engine="MergeTree",
        comment="",
        rows=rows,
        bytes=None,
        bytes_uncompressed=None,
        parts=None,
        written_at=None,
        partition_key="",
        sorting_key=sorting_key,
        sample=Sample("whole", rows, 1.0, ""),
        columns=tuple(ColumnProfile(column, type_, kind_of(type_)) for column, type_ in columns.items()),
        keys=tuple(Key((column,), False, rows, 0, rows, True, 1, True) for column in unique),
    )


def guessed(*tables: TableProfile) -> list[str]:
    return [f"{one.table}.{one.column} > {one.parent}.{one.parent_column}" for one in guess(tables)]


BRANDS = table("brands", {"brand_id": "String", "name": "String"}, sorting_key=("brand_id",))


def test_a_column_named_like_the_key_of_a_table_refers_to_it() -> None:
    sessions = table("sessions", {"session_id": "String", "brand_id": "LowCardinality(String)"})
    assert guessed(sessions, BRANDS) == ["sessions.brand_id > brands.brand_id"]


def test_words_before_the_keys_name_do_not_matter_whole_words_do() -> None:
    users = table("users", {"preferred_brand_id": "String", "rebrand_id": "String", "brand_name": "String"})
    assert guessed(users, BRANDS) == ["users.preferred_brand_id > brands.brand_id"]


def test_a_table_whose_key_is_a_bare_id_is_referred_to_by_its_name() -> None:
    companies = table("companies", {"id": "UInt64"}, sorting_key=("id",))
    offices = table("offices", {"id": "UInt64", "companyId": "UInt32", "code": "UInt8"}, sorting_key=("id",))
    assert guessed(companies, offices) == ["offices.companyId > companies.id"]


def test_a_table_may_refer_to_itself_by_another_name() -> None:
    categories = table(
        "categories", {"category_id": "String", "parent_category_id": "String"}, sorting_key=("category_id",)
    )
    assert guessed(categories) == ["categories.parent_category_id > categories.category_id"]


def test_a_unique_column_is_a_key_only_of_the_table_named_for_it() -> None:
    sessions = table(
        "customer_sessions",
        {"session_id": "String", "ticket_id": "String"},
        sorting_key=("ts",),
        unique=("session_id", "ticket_id"),
    )
    events = table("events", {"session_id": "String", "ticket_id": "String"})
    assert guessed(sessions, events) == ["events.session_id > customer_sessions.session_id"]


def test_the_table_named_for_a_key_wins_over_others_that_are_sorted_by_it() -> None:
    extra = table("brand_extras", {"brand_id": "String"}, sorting_key=("brand_id",))
    child = table("sessions", {"brand_id": "String"})
    assert guessed(BRANDS, extra, child) == [
        "brand_extras.brand_id > brands.brand_id",
        "sessions.brand_id > brands.brand_id",
    ]


def test_of_two_tables_sorted_by_one_key_the_smaller_refers() -> None:
    large = table("people", {"person_id": "String"}, sorting_key=("person_id",), rows=100)
    small = table("profiles", {"person_id": "String"}, sorting_key=("person_id",), rows=10)
    assert guessed(large, small) == ["profiles.person_id > people.person_id"]


@pytest.mark.parametrize("type_", ["UInt64", "Float64", "Array(String)", "DateTime"])
def test_types_that_cannot_be_equal_refer_to_nothing(type_: str) -> None:
    assert guessed(BRANDS, table("sessions", {"brand_id": type_})) == []


def test_a_uuid_may_stand_in_a_string() -> None:
    assert guessed(BRANDS, table("sessions", {"brand_id": "Nullable(UUID)"})) != []


def test_a_table_sorted_by_several_columns_has_no_key_of_one() -> None:
    versions = table("versions", {"version_id": "String", "n": "UInt8"}, sorting_key=("version_id", "n"))
    assert guessed(versions, table("uses", {"version_id": "String"})) == []


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("brand_id", ("brand", "id")),
        ("brandId", ("brand", "id")),
        ("HTTPStatusCode", ("http", "status", "code")),
        ("top 10-articles", ("top", "10", "articles")),
        ("straße_id", ("straße", "id")),
        ("", ()),
    ],
)
def test_a_name_has_words(name: str, parts: tuple[str, ...]) -> None:
    assert words(name) == parts


@pytest.mark.parametrize(
    ("plural", "one"),
    [("brands", "brand"), ("categories", "category"), ("boxes", "box"), ("news", "new"), ("address", "address")],
)
def test_plurals_lose_their_ending(plural: str, one: str) -> None:
    assert singular(plural) == one


def test_an_identifier_ends_with_a_word_for_one() -> None:
    assert [name for name in ("brand_id", "countryCode", "paid", "idle", "id", "___") if identifies(name)] == [
        "brand_id",
        "countryCode",
        "id",
    ]
