"""Freezing a contract from a described query and counted words, without a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest

from raypipe.artifact.freeze import freeze
from raypipe.clickhouse.client import Client
from raypipe.errors import DataError


@dataclass(frozen=True)
class Declared:
    name: str
    kind: str = "number"
    encode: str = "ordinal"
    vocabulary: int = 10
    missing: tuple[Any, ...] = ()
    default: float | None = None
    monotone: int = 0


class Answers:
    """A client that answers DESCRIBE with types, and the count of words by date."""

    def __init__(self, types: Mapping[str, str], words: Mapping[str, dict[str, int]]) -> None:
        self._types = types
        self._words = words
        self.asked: list[str] = []

    def rows(self, sql: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        if sql.startswith("DESCRIBE"):
            return [(name, kind, "") for name, kind in self._types.items()]
        self.asked.append(parameters["date"])
        known = self._words[parameters["date"]]
        return [((list(known), list(known.values())),)]


WORDS = {"d1": {"b": 2, "a": 2, "": 5}, "d2": {"c": 3, "a": 1}}


def vocabulary(**changes: Any) -> tuple[str, ...]:
    client = Answers({"k": "String", "w": "String"}, WORDS)
    declared = Declared("w", "category", **changes)
    dates = [{"date": "d1"}, {"date": "d2"}]
    found = freeze(cast(Client, client), [declared], ["k"], [], "SELECT", dates, "x.sql")
    assert client.asked == ["d1", "d2"]
    return found.features[0].vocabulary


def test_words_are_counted_over_all_training_dates_and_ties_are_in_alphabetical_order() -> None:
    assert vocabulary() == ("", "a", "c", "b")


def test_the_vocabulary_is_cut_to_its_size() -> None:
    assert vocabulary(vocabulary=2) == ("", "a")


def test_words_that_stand_for_missing_are_no_words() -> None:
    assert vocabulary(missing=("", "c")) == ("a", "b")


def test_a_category_of_nothing_but_missing_words_is_refused() -> None:
    with pytest.raises(DataError, match="'w' has no value"):
        vocabulary(missing=("", "a", "b", "c"))


@pytest.mark.parametrize(
    "kind",
    ["UInt8", "Int256", "Float64", "Decimal(9, 2)", "Bool", "Nullable(Float32)", "LowCardinality(Nullable(UInt8))"],
)
def test_every_number_is_taken_with_its_type(kind: str) -> None:
    client = Answers({"k": "UInt64", "n": kind}, {})
    declared = Declared("n", missing=(0,), default=1.0, monotone=1)
    (found,) = freeze(cast(Client, client), [declared], ["k"], [], "SELECT", [{}], "x").features
    assert (found.type, found.missing, found.default, found.monotone) == (kind, (0,), 1.0, 1)
    assert client.asked == []


@pytest.mark.parametrize(
    "kind", ["String", "Nullable(String)", "Date", "DateTime", "Array(Float32)", "Enum8('a' = 1)", "UUID"]
)
def test_what_is_no_number_is_refused_as_one(kind: str) -> None:
    with pytest.raises(DataError, match="declared as a number") as refused:
        freeze(cast(Client, Answers({"n": kind}, {})), [Declared("n")], [], [], "SELECT", [{}], "x")
    assert refused.value.found == kind
