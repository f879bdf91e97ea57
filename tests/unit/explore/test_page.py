"""Test the HTML page: names and values stay text, and the page fetches nothing."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from raypipe.explore import neighbours, page
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
from raypipe.explore.table_section import values

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
    assert "img" not in {tag for tag, _ in evil.elements}


def test_the_text_of_a_database_is_shown_as_it_is(evil: Read) -> None:
    assert evil.text.count(EVIL) > 40
    assert "49" not in re.findall(r"\d+", evil.text.replace(EVIL, ""))


def test_the_page_fetches_nothing(evil: Read) -> None:
    attributes = [(name, value or "") for _, found in evil.elements for name, value in found.items()]
    assert [
        pair for pair in attributes if pair[0] in ("src", "srcset", "action", "style") or pair[0].startswith("on")
    ] == []
    assert all(value.startswith("#") for name, value in attributes if name == "href")


def test_every_link_leads_to_a_section(evil: Read) -> None:
    anchors = {str(found["id"]) for _, found in evil.elements if "id" in found}
    links = {str(found["href"]).removeprefix("#") for tag, found in evil.elements if tag == "a"}
    assert {"t0", "t1"} <= links <= anchors


def test_a_link_leads_into_what_is_folded_so_that_it_opens(evil: Read) -> None:
    # Browsers open the `details` around what a link names, and leave those closed that it names themselves.
    assert {tag for tag, found in evil.elements if str(found.get("id", "")) in ("t0", "t1")} == {"p"}


def test_an_empty_database_has_a_page_too() -> None:
    text = Read(page.render(replace(report("word"), tables=(), relations=(), errors=()))).text
    assert text.count("None.") == 2


def test_grave_hazards_come_first_and_raypipes_tables_last() -> None:
    found = report("word")
    grave = Hazard("summed averages", ("avg_score",), "an average becomes a sum")
    tables = [replace(table, table=name) for table, name in zip(found.tables, ("raypipe_runs", "zebra"), strict=True)]
    tables[1] = replace(tables[1], hazards=(Hazard("constant", ("x",), "one value"), grave))
    text = Read(page.render(replace(found, tables=tuple(tables), relations=()))).text
    assert text.index("an average becomes a sum") < text.index("one value")
    assert "1 table: zebra." in text
    listed = text[text.index("raypipe's own come last") :]
    assert listed.index("zebra") < listed.index("raypipe_runs")


def test_lists_of_uuids_are_not_printed() -> None:
    column = ColumnProfile("user_id", "String", "text", values=tuple(Value(str(uuid.uuid4()), 1) for _ in range(5)))
    assert values(column, 5) == "ids"
    assert values(replace(column, values=(Value("free", 3),)), 5) != "ids"


def test_the_chosen_table_is_drawn_with_its_neighbours_alone() -> None:
    relations = [
        Relation("sessions", "user_id", "users", "user_id", coverage=1.0),
        Relation("events", "session_id", "sessions", "session_id", coverage=0.5),
        Relation("shops", "city_id", "cities", "city_id", coverage=1.0),
    ]
    html = str(neighbours.draw("sessions", relations, {"users": "t3", "events": "t1"}))
    assert "sessions refers to 1 table: users. Tables that refer to it: events." in html
    assert "shops" not in html
    assert html.count("broken") == 1
    assert 'href="#t3"' in html
    assert neighbours.draw("lonely", relations, {}) is None
