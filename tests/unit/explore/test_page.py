"""Test the HTML page: names and values stay text, and the page fetches nothing."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from raypipe.explore import page
from raypipe.explore.facts import (
    ColumnProfile,
    Correlations,
    DatabaseProfile,
    Failure,
    Hazard,
    Histogram,
    Key,
    LabelBalance,
    Limits,
    Newest,
    Relation,
    Sample,
    TableProfile,
    Value,
)

EVIL = "<script>alert('x')</script>\"><img src=http://evil.example/x onerror=alert(1)>{{ 7*7 }}&amp;"


class Read(HTMLParser):
    """The elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


def report(word: str) -> DatabaseProfile:
    """A report in which every text that a database can choose is the word."""
    column = ColumnProfile(
        word,
        word,
        "number",
        default_kind="ALIAS",
        nulls=1,
        sentinel=word,
        sentinels=2,
        not_finite=1,
        distinct=3,
        low=word,
        high=word,
        mean=1.0,
        deviation=0.5,
        histogram=Histogram(0.0, 1.0, (1, 2), 1, 0),
        values=(Value(word, 2),),
        error=word,
    )
    table = TableProfile(
        table=word,
        engine=word,
        comment=word,
        rows=10,
        bytes=2048,
        bytes_uncompressed=4096,
        parts=2,
        written_at=datetime(2026, 1, 31, tzinfo=UTC),
        partition_key=word,
        sorting_key=(word,),
        sample=Sample("whole", 10, 1.0, word),
        newest=Newest(word, word),
        columns=(column,),
        keys=(Key((word,), True, 9, 1, 10, False, 2, True),),
        correlations=Correlations((word, "b"), ((1.0, 0.5), (0.5, 1.0))),
        targets=(LabelBalance(word, 10, 4, 0.4),),
        hazards=(Hazard("constant", (word,), word),),
        errors=(Failure(word, word),),
    )
    child = replace(table, table=f"child {word}")
    relations = (
        Relation(child.table, word, word, word, 5, 4, 10, 9, 0.8),
        Relation(word, word, child.table, word, error=word),
    )
    return DatabaseProfile(
        word, word, datetime(2026, 1, 31, tzinfo=UTC), Limits(), (table, child), relations, (Failure(word, word),)
    )


@pytest.fixture(scope="module")
def evil() -> Read:
    return Read(page.render(report(EVIL)))


def test_no_text_of_a_database_becomes_an_element_or_an_attribute(evil: Read) -> None:
    harmless = Read(page.render(report("word")))
    assert [(tag, sorted(attributes)) for tag, attributes in evil.elements] == [
        (tag, sorted(attributes)) for tag, attributes in harmless.elements
    ]
    assert {"script", "img"}.isdisjoint(tag for tag, _ in evil.elements)


def test_the_text_of_a_database_is_shown_as_it_is(evil: Read) -> None:
    assert evil.text.count(EVIL) > 40
    assert "49" not in re.findall(r"\d+", evil.text.replace(EVIL, ""))


def test_the_page_fetches_nothing_and_forbids_it(evil: Read) -> None:
    attributes = [(name, value or "") for _, found in evil.elements for name, value in found.items()]
    assert [
        pair for pair in attributes if pair[0] in ("src", "srcset", "action", "style") or pair[0].startswith("on")
    ] == []
    assert all(value.startswith("#t") for name, value in attributes if name == "href")
    policy = [
        found for tag, found in evil.elements if tag == "meta" and "content-security-policy" in str(found).lower()
    ]
    assert policy[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'"
    css = page.render(report("word")).split("<style>")[1].split("</style>")[0]
    assert "url(" not in css
    assert "@import" not in css


def test_every_link_leads_to_a_table(evil: Read) -> None:
    anchors = {str(found["id"]) for _, found in evil.elements if "id" in found}
    links = {str(found["href"]).removeprefix("#") for tag, found in evil.elements if tag == "a"}
    assert links == anchors == {"t0", "t1"}


def test_a_link_leads_into_what_is_folded_so_that_it_opens(evil: Read) -> None:
    # Browsers open the `details` around what a link names, and leave those closed that it names themselves.
    assert {tag for tag, found in evil.elements if "id" in found} == {"p"}


def test_an_empty_database_has_a_page_too() -> None:
    text = Read(page.render(replace(report("word"), tables=(), relations=(), errors=()))).text
    assert "\nNone.\n" in text
