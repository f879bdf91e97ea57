"""Split names of columns and tables into words, and recognise names of identifiers."""

import re

IDENTIFIERS = frozenset({"id", "uuid", "guid", "key", "code", "ref", "sku", "isbn", "fk"})

# Between brand and Id, HTTP and Status, top and 10; underscores and other non-letters separate, too.
_BOUNDARY = re.compile(
    r"(?<=[^\W_A-Z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|(?<=[^\W\d_])(?=\d)|(?<=\d)(?=[^\W\d_])|[\W_]+"
)
_PLURALS = ((re.compile(r"ies\Z"), "y"), (re.compile(r"(s|x|z|ch|sh)es\Z"), r"\1"), (re.compile(r"(?<=[^s])s\Z"), ""))


def words(name: str) -> tuple[str, ...]:
    """Return the words of `brand_id`, `brandId` or `BrandID` in lower case."""
    return tuple(word.lower() for word in _BOUNDARY.split(name) if word)


def singular(word: str) -> str:
    """Return the word without an English plural's ending."""
    for pattern, ending in _PLURALS:
        if pattern.search(word):
            return pattern.sub(ending, word)
    return word


def identifies(name: str) -> bool:
    """Return whether the name ends like an identifier's."""
    return bool(IDENTIFIERS.intersection(words(name)[-1:]))
