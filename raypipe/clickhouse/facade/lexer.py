"""The text of a request taken apart as far as the HTTP protocol needs it.

ClickHouse's HTTP handler is given a statement, its FORMAT, and the data that may follow it, in one text. chDB
wants them separately, so somebody has to find the seams. This looks at tokens alone (strings, comments, brackets,
words); what it does not understand goes to the engine as it is, and the engine has the last word on syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise

_TOKEN = re.compile(
    rb"""
    (?P<space>\s+|--[^\n]*|\#[ !][^\n]*|/\*.*?\*/)
  | (?P<quoted>'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$)
  | (?P<word>[A-Za-z_0-9][A-Za-z_0-9.]*)
  | (?P<mark>.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(rb"\\(.)|''", re.DOTALL)
_BLANKS_AND_LINE_BREAK = re.compile(rb"[ \t\f]*(?:\r?\n)?")

_SELECTING = {b"SELECT", b"WITH", b"FROM"}
_READING = {b"SHOW", b"DESCRIBE", b"DESC", b"EXISTS", b"EXPLAIN", b"CHECK", b"USE", b"SET"}
_BEFORE_A_NAME = {b"INTO", b"TABLE", b"FUNCTION", b"."}
_BEFORE_AN_EXPRESSION = {b",", b".", b"SELECT", b"DISTINCT", b"BY", b"AS", b"WHERE", b"AND", b"OR", b"NOT", b"ON"}


class Kind(Enum):
    """What a statement does with data."""

    SELECT = "yields rows, in any number"
    READ = "yields a few rows and changes nothing"
    INSERT = "takes data in a format"
    INSERT_INPUT = "takes data in a format, through input()"
    CHANGE = "changes something"
    EMPTY = "there is no statement"


@dataclass(frozen=True)
class Token:
    """A token that is not space: its text (words in upper case), its place, and how many brackets are open there."""

    text: bytes
    start: int
    end: int
    depth: int
    is_word: bool
    is_quoted: bool


@dataclass(frozen=True)
class InputCall:
    """`input('structure')` in an INSERT: where it stands, and the columns that it declares."""

    start: int
    end: int
    structure: bytes


@dataclass(frozen=True)
class Parsed:
    """A statement and its seams.

    Attributes:
        kind: what it does with data.
        first: its first word, in upper case.
        head: the statement without FORMAT, data and semicolon.
        format: the name behind FORMAT; `Values` for VALUES.
        tail: what stands behind the FORMAT of a query: its SETTINGS.
        data_at: where the data of an INSERT begins.
        input: the call of `input()`, if data comes through it.
        extra_at: where a second statement begins, if there is one.
        writes_file: whether the query asks the server to write a file.
    """

    kind: Kind
    first: bytes = b""
    head: bytes = b""
    format: str | None = None
    tail: bytes = b""
    data_at: int = 0
    input: InputCall | None = None
    extra_at: int | None = None
    writes_file: bool = False

    @property
    def takes_data(self) -> bool:
        """Whether what follows the statement is data."""
        return self.kind in (Kind.INSERT, Kind.INSERT_INPUT)

    @property
    def reads_only(self) -> bool:
        """Whether a GET request may run it."""
        return self.kind in (Kind.SELECT, Kind.READ, Kind.EMPTY)

    def reading_from(self, table: bytes) -> bytes:
        """The head of an INSERT with `input(…)` replaced by the name of a table."""
        assert self.input is not None
        return self.head[: self.input.start] + table + self.head[self.input.end :]


def parse(text: bytes) -> Parsed:
    """Finds the seams of the statement at the beginning of `text`."""
    first = next((token.text for token in _tokens(text) if token.text != b"("), None)
    if first is None:
        return Parsed(Kind.EMPTY)
    return (_insert(text) if first == b"INSERT" else None) or _query(text, first)


def _tokens(text: bytes) -> Iterator[Token]:
    depth = 0
    for match in _TOKEN.finditer(text):
        if match["space"] is not None:
            continue
        symbol, is_word = match[0], match["word"] is not None
        if symbol in (b")", b"]", b"}"):
            depth -= 1
        yield Token(
            symbol.upper() if is_word else symbol,
            match.start(),
            match.end(),
            depth,
            is_word,
            match["quoted"] is not None,
        )
        if symbol in (b"(", b"[", b"{"):
            depth += 1


def _insert(text: bytes) -> Parsed | None:
    """An INSERT that takes data; None for one that does not. Reads no further than where the data begins."""
    call: InputCall | None = None
    seen: list[Token] = []
    for token in _tokens(text):
        if token.text == b";" and token.depth == 0:
            return None
        before = seen[-1].text if seen else b""
        if token.depth == 0 and token.is_word and before not in _BEFORE_A_NAME:
            selects = any(one.text in _SELECTING and one.depth == 0 for one in seen)
            if token.text == b"VALUES" and not selects:
                return Parsed(Kind.INSERT, b"INSERT", text[: token.start], "Values", data_at=token.end)
            if before == b"FORMAT" and seen[-1].depth == 0 and (call or not selects):
                blanks = _BLANKS_AND_LINE_BREAK.match(text, token.end)
                return Parsed(
                    Kind.INSERT_INPUT if call else Kind.INSERT,
                    b"INSERT",
                    text[: seen[-1].start],
                    text[token.start : token.end].decode(),
                    data_at=blanks.end() if blanks else token.end,
                    input=call,
                )
        seen.append(token)
        call = call or _input_call(seen[-4:], text)
    return None


def _input_call(last: Sequence[Token], text: bytes) -> InputCall | None:
    if [token.text for token in last if not token.is_quoted] != [b"INPUT", b"(", b")"] or not last[2].is_quoted:
        return None
    literal = text[last[2].start + 1 : last[2].end - 1]
    return InputCall(last[0].start, last[3].end, _ESCAPED.sub(lambda match: match[1] or b"'", literal))


def _query(text: bytes, first: bytes) -> Parsed:
    tokens = list(_tokens(text))
    stop = next((at for at, token in enumerate(tokens) if token.text == b";" and token.depth == 0), len(tokens))
    extra_at = tokens[stop].start if any(token.text != b";" for token in tokens[stop:]) else None
    tokens = tokens[:stop]
    words = [token.text if token.depth == 0 and token.is_word else b"" for token in tokens]
    changes = first not in _SELECTING | _READING or (first == b"WITH" and b"INSERT" in words)
    kind = Kind.CHANGE if changes else Kind.SELECT if first in _SELECTING else Kind.READ
    writes_file = (b"INTO", b"OUTFILE") in pairwise(words)
    end = tokens[-1].end if tokens else 0
    at = _format_clause(tokens, words)
    if at is None:
        return Parsed(kind, first, text[:end], extra_at=extra_at, writes_file=writes_file)
    return Parsed(
        kind,
        first,
        text[: tokens[at].start],
        text[tokens[at + 1].start : tokens[at + 1].end].decode(),
        tail=text[tokens[at + 1].end : end],
        extra_at=extra_at,
        writes_file=writes_file,
    )


def _format_clause(tokens: Sequence[Token], words: Sequence[bytes]) -> int | None:
    """Where `FORMAT name` stands at the end of a query; nothing but SETTINGS may follow it."""
    for at in range(len(tokens) - 2, 0, -1):
        if words[at] == b"FORMAT" and words[at + 1] and tokens[at - 1].text not in _BEFORE_AN_EXPRESSION:
            return at if at + 2 == len(tokens) or words[at + 2] == b"SETTINGS" else None
    return None
