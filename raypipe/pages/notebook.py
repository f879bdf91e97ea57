"""Show objects in a notebook, with the pieces of the pages."""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from raypipe.pages import page, tables
from raypipe.pages.markup import Child, Markup, element, raw

T = TypeVar("T")
CLASS = "raypipe"


def card(
    title: str, state: str, status: str, pairs: Sequence[tuple[str, Child]], words: str = "", *parts: Markup
) -> Markup:
    """Return an object as HTML: its title, its state, labelled values, a sentence, and charts."""
    style = raw("style", _style())
    head = element("h2", title, " ", page.state(state, status.lower()) if status else None)
    return element(
        "div", style, head, tables.facts(pairs), element("p", words) if words else None, *parts, class_=CLASS
    )


def shown(value: T, title: str, pairs: Sequence[tuple[str, str]]) -> T:
    """Let a notebook show a foreign object as a card in place of its own form."""
    found: Any = value
    found._repr_html_ = partial(card, title, "plain", "", tuple(pairs))
    found._repr_mimebundle_ = partial(_bundle, title, tuple(pairs))
    return value


def _bundle(title: str, pairs: Sequence[tuple[str, str]], **_: object) -> dict[str, str]:
    text = f"{title}: {', '.join(f'{name} {value}' for name, value in pairs)}"
    return {"text/html": str(card(title, "plain", "", pairs)), "text/plain": text}


def _style() -> str:
    """Return the pages' style for the inside of a card alone, so that a notebook keeps its own."""
    return f"@scope (.{CLASS}) {{ {page.asset('style.css').replace(':root', ':scope')} }}"
