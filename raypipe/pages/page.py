"""Put content into a page with its style and script inside, which is allowed to fetch nothing."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from raypipe.pages.markup import Child, Markup, element, raw, text

# The sign of each state; colour alone tells nobody anything.
SIGNS = {"good": "✓", "watch": "!", "bad": "✗", "open": "?", "plain": "•"}


@dataclass(frozen=True)
class Answer:
    """A question that a page answers in its first lines.

    Attributes:
        state: good, watch, bad, open for an answer that is not known yet, or plain.
        words: the answer in front of the details, such as `Yes`.
        details: what the answer rests on, and what to type.
    """

    question: str
    state: str
    words: str
    details: str = ""


@dataclass(frozen=True)
class Link:
    """A page of the folder, for its navigation; `state` marks a page that needs a look."""

    label: str
    href: str
    state: str = ""


def page(title: str, content: Child, *, links: Sequence[Link] = (), here: str = "", about: Child = "") -> str:
    """Return a whole page.

    Args:
        links: the pages of the folder; `here` is the href of this page.
        about: the line under the title.
    """
    style, script = asset("style.css"), asset("script.js")
    own = f"style-src '{_hash(style)}'; script-src '{_hash(script)}'"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", title),
        raw("style", style),
    )
    header = element("header", element("h1", title), element("p", about, class_="quiet") if about else None)
    skip = element("a", "Skip to the content", href="#content", class_="skip")
    main = element("main", header, content, id="content")
    body = element("body", skip, _navigation(links, here) if links else None, main, raw("script", script))
    return f"<!doctype html>\n{element('html', head, body, lang='en')}\n"


def section(title: str, *content: Child, anchor: str = "", about: str = "") -> Markup:
    """Return a part of a page under its heading."""
    words = element("p", about, class_="quiet") if about else None
    return element(
        "section", element("h2", title, id=f"{anchor}-title" if anchor else None), words, content, id=anchor or None
    )


def multiples(*charts: Child) -> Markup:
    """Return charts side by side, as many as the screen has room for."""
    return element("div", charts, class_="multiples")


def beside(*parts: Child) -> Markup:
    """Return parts of different widths side by side where there is room, such as a chart and its table."""
    return element("div", parts, class_="beside")


def answers(items: Sequence[Answer]) -> Markup:
    """Return questions with their answers."""
    return element("div", [_answer(item) for item in items], class_="answers")


def folded(summary: str, *content: Child) -> Markup:
    """Return content behind a line that opens it."""
    return element("details", element("summary", summary), content)


def state(name: str, words: str) -> Markup:
    """Return words with the sign of a state."""
    return element(
        "span",
        element("span", SIGNS.get(name, ""), aria_hidden="true", class_="sign"),
        " ",
        words,
        class_=f"state {name}",
    )


def code(words: str) -> Markup:
    """Return a command to type."""
    return element("code", words)


def _answer(item: Answer) -> Markup:
    sign = element("span", SIGNS[item.state], class_="sign", aria_hidden="true")
    words = element("strong", item.words)
    details = [code(part) if at % 2 else text(part) for at, part in enumerate(item.details.split("`"))]
    return element(
        "section",
        element("h2", item.question),
        element("p", sign, words, " ", details),
        class_=f"answer {item.state}",
    )


def _navigation(links: Sequence[Link], here: str) -> Markup:
    items = [
        element(
            "li",
            element(
                "a",
                link.label,
                element("span", SIGNS[link.state], class_=f"sign {link.state}", aria_hidden="true")
                if link.state in ("watch", "bad")
                else None,
                element("span", " (needs a look)", class_="unseen") if link.state in ("watch", "bad") else None,
                href=link.href,
                aria_current="page" if link.href == here else None,
            ),
        )
        for link in links
    ]
    return element("nav", element("ul", items), aria_label="Pages of the report")


@cache
def asset(name: str) -> str:
    """Return the style sheet or the script."""
    return (Path(__file__).parent / "assets" / name).read_text(encoding="utf-8")


@cache
def _hash(content: str) -> str:
    """Return the name by which the page's policy allows an inline style or script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"
