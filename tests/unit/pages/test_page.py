"""Test whole pages: what they allow, and how they are read aloud."""

from __future__ import annotations

import base64
import hashlib
import re

from raypipe.pages import tables
from raypipe.pages.page import Answer, Link, answers, page
from raypipe.pages.tables import Cell, Column


def test_a_page_allows_nothing_but_its_own_style_and_script() -> None:
    html = page("Nights", "x")
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert policy[1].startswith("default-src &#x27;none&#x27;; style-src &#x27;sha256-")
    for name in ("style", "script"):
        (content,) = re.findall(f"<{name}>(.*?)</{name}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src &#x27;sha256-{digest}&#x27;" in policy[1]
        assert not re.search(r"https?:|url\(|@import", content)


def test_an_answer_shows_its_command_and_its_state_not_by_colour_alone() -> None:
    html = answers([Answer("Is it good?", "bad", "No.", "Type `raypipe fit <x>` now.")])
    assert "<code>raypipe fit &lt;x&gt;</code>" in html
    assert "<h2>Is it good?</h2>" in html
    assert "✗" in html


def test_the_navigation_names_the_page_and_what_needs_a_look() -> None:
    html = page(
        "churn", "", links=[Link("Nights", "index.html"), Link("churn", "churn.html", "bad")], here="churn.html"
    )
    assert html.count('aria-current="page"') == 1
    assert html.count("(needs a look)") == 1


def test_a_table_has_headings_with_a_scope_and_sorts_by_keys() -> None:
    rows = [("a", Cell("1.2 M", 1_200_000)), ("b", Cell("900", 900))]
    html = tables.table("Rows", ("pipeline", Column("rows", True)), rows)
    assert html.count('scope="col"') == html.count('scope="row"') == 2
    assert 'data-key="1200000"' in html
    assert "<caption>Rows</caption>" in html
    assert "data-sortable" in html
    assert "Nothing yet." in tables.table("Rows", ("a",), [])
