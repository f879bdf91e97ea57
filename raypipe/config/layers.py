"""Merge the layers: base.yaml < the pipeline's YAML < the environment < --set < --url."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce

from raypipe.config.document import Document, Node, parse
from raypipe.config.problems import Key, Problem, dotted

OVERRIDE = "--set"
VARIABLES: Mapping[str, tuple[str, ...]] = {
    "RAYPIPE_URL": ("connection", "url"),
    "RAYPIPE_PASSWORD_FILE": ("connection", "password_file"),
    "RAYPIPE_CA_FILE": ("connection", "ca_file"),
    "RAYPIPE_ARTIFACTS": ("artifacts",),
}


class _NoSuchPlace(Exception):
    """An override points into a single value, or beyond the end of a list."""


def merged(lower: Node, upper: Node) -> Node:
    """Lay `upper` over `lower`: mappings key by key, lists and all else as a whole."""
    if not (isinstance(lower.value, dict) and isinstance(upper.value, dict)):
        return upper
    both = {key: merged(lower.value[key], node) if key in lower.value else node for key, node in upper.value.items()}
    return Node({**lower.value, **both}, upper.place)


def with_environment(document: Document, environ: Mapping[str, str]) -> Document:
    """Apply raypipe's environment variables; an empty variable counts as unset."""
    given = {name: path for name, path in VARIABLES.items() if environ.get(name)}
    return reduce(lambda before, item: _set(before, item[1], Node(environ[item[0]], item[0])), given.items(), document)


def with_url(document: Document, url: str | None) -> Document:
    """Apply the URL of the command line."""
    return document if url is None else _set(document, ("connection", "url"), Node(url, "--url"))


def with_overrides(document: Document, overrides: Iterable[str]) -> Document:
    """Apply every `key=value` of the command line; a later value wins."""
    return reduce(_override, overrides, document)


def _override(document: Document, text: str) -> Document:
    key, equals, value = text.partition("=")
    path = tuple(key.strip().split("."))
    if not equals or not all(path):
        # Only the key is repeated: the rest may be a password.
        allowed = "key=value, such as model.rounds=100 or levels.0.below=0.2"
        return _refused(document, Problem(OVERRIDE, (), "cannot be used", repr(key[:40]), allowed))
    parsed = parse(value, OVERRIDE, lines=False)
    if parsed.problems:
        allowed = "a number, true, a word, [a, b], {a: 1}, 'any text'"
        return _refused(document, Problem(OVERRIDE, path, "has a value that is not YAML", allowed=allowed))
    # An empty value is null, as in a file; only an empty file is an empty mapping.
    leaf = parsed.root if value.strip() else Node(None, OVERRIDE)
    return _set(document, path, leaf)


def _refused(document: Document, problem: Problem) -> Document:
    return Document(document.root, (*document.problems, problem))


def _set(document: Document, path: tuple[str, ...], leaf: Node) -> Document:
    try:
        return Document(_assigned(document.root, path, (), leaf), document.problems)
    except _NoSuchPlace as error:
        return _refused(document, Problem(leaf.place, path, str(error)))


def _assigned(node: Node, path: tuple[str, ...], walked: tuple[Key, ...], leaf: Node) -> Node:
    if not path:
        return merged(node, leaf)
    key, rest = path[0], path[1:]
    if isinstance(node.value, dict):
        below = node.value.get(key, Node({}, leaf.place))
        return Node({**node.value, key: _assigned(below, rest, (*walked, key), leaf)}, node.place)
    if isinstance(node.value, list):
        position = int(key) if key.isdecimal() else -1
        if not 0 <= position < len(node.value):
            items = f"its items are 0 to {len(node.value) - 1}" if node.value else "and it is empty"
            raise _NoSuchPlace(f"cannot be set: {dotted(walked)} is a list, {items}")
        changed = list(node.value)
        changed[position] = _assigned(changed[position], rest, (*walked, position), leaf)
        return Node(changed, node.place)
    raise _NoSuchPlace(f"cannot be set: {dotted(walked)} is a single value ({node.place})")
