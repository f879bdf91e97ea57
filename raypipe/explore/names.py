"""What a column's or a table's name tells: its words, and whether it names a thing rather than a quantity."""

from __future__ import annotations

import re

IDENTIFIERS = frozenset({"id", "uuid", "guid", "key", "code", "ref", "sku", "isbn", "fk"})

# Between brand and Id, HTTP and Status, top and 10; underscores and whatever is no letter separate besides.
_BOUNDARY = re.compile(
    r"(?<=[^\W_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|[\W_]+"
)
_PLURALS = ((re.compile(r"ies\Z"), "y"), (re.compile(r"(s|x|z|ch|sh)es\Z"), r"\1"), (re.compile(r"(?<=[^s])s\Z"), ""))


def words(name: str) -> tuple[str, ...]:
    """The words of `brand_id`, `brandId` or `BrandID`, in lower case."""
    return tuple(word.lower() for word in _BOUNDARY.split(name) if word)


def singular(word: str) -> str:
    """The word without an English plural's ending."""
    for pattern, ending in _PLURALS:
        if pattern.search(word):
            return pattern.sub(ending, word)
    return word


def identifies(name: str) -> bool:
    """Whether the name ends like an identifier's."""
    return words(name)[-1:] != () and words(name)[-1] in IDENTIFIERS
