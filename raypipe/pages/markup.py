"""Build HTML and SVG from values. Every text is escaped here, so no page escapes by itself."""

from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape
from typing import TypeAlias

# Elements without an end.
VOID = frozenset({"br", "col", "hr", "input", "link", "meta"})
Child: TypeAlias = "str | int | float | Iterable[Child] | None"
Attribute: TypeAlias = "str | int | float | bool | None"


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def text(value: Child) -> Markup:
    """Return children as HTML: text escaped, markup as it is, None as nothing."""
    if isinstance(value, Markup):
        return value
    if value is None:
        return Markup("")
    if isinstance(value, str):
        return Markup(escape(value))
    if isinstance(value, (int, float)):
        return Markup(escape(str(value)))
    return Markup("".join(text(part) for part in value))


def element(name: str, /, *children: Child, **attributes: Attribute) -> Markup:
    """Return an element.

    Args:
        attributes: None and False leave an attribute out. `class_` is `class`, and `aria_label` is `aria-label`.
    """
    start = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Markup(start if name in VOID else f"{start}{text(children)}</{name}>")


def raw(name: str, content: str) -> Markup:
    """Return a `style` or `script` element, which has no escapes; the content is raypipe's own."""
    return Markup(f"<{name}>{content}</{name}>")


def coordinate(value: float) -> str:
    """Return a number for SVG with at most one decimal.

    Raises:
        ValueError: the number is not finite; a chart leaves such values out.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} has no place in a chart")
    return f"{value:.1f}".removesuffix(".0")


def _attribute(name: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    shown = name.rstrip("_").replace("_", "-")
    if value is True:
        return f" {shown}"
    return f' {shown}="{escape(coordinate(value) if isinstance(value, float) else str(value))}"'
