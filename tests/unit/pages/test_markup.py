"""Test that text stays text, whatever it contains."""

from __future__ import annotations

import math

import pytest

from raypipe.pages.markup import coordinate, element, text

EVIL = "<script>alert('x')</script>\" onload=\"alert(1)&amp;"


def test_text_is_escaped_in_elements_and_attributes() -> None:
    html = element("p", EVIL, title=EVIL)
    assert html.count("<") == 2
    assert html.count('"') == 2
    assert "<script>" not in html


def test_markup_is_not_escaped_twice() -> None:
    assert element("p", element("b", "a & b")) == "<p><b>a &amp; b</b></p>"
    assert text([element("i", "x"), None, " <", 3]) == "<i>x</i> &lt;3"


def test_attributes_that_are_missing_are_left_out() -> None:
    assert element("a", "x", class_=None, hidden=True, data_key=0, aria_label="b") == (
        '<a hidden data-key="0" aria-label="b">x</a>'
    )


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_without_a_place_never_reaches_a_chart(value: float) -> None:
    with pytest.raises(ValueError, match="no place"):
        coordinate(value)
    with pytest.raises(ValueError, match="no place"):
        element("rect", width=value)
