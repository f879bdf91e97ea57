"""Resolve `extends`, the file below a pipeline's file, and `definitions`, features that are then only named."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from raypipe.config.check import check
from raypipe.config.document import Document, Node, read
from raypipe.config.features import Feature
from raypipe.config.fields import PATTERNS, YAML_PATH
from raypipe.config.layers import merged
from raypipe.config.model import AUTO, AUTO_SECTION
from raypipe.config.problems import Problem, shown

EXTENDS, DEFINITIONS, FEATURES, MODEL = "extends", "definitions", "features", "model"


def extended(document: Document, folders: Sequence[Path], display: Callable[[Path], str]) -> Document:
    """Lay the document over the file that it extends, and so on down the chain; drop the key itself.

    Args:
        folders: where to look the path up; the first match counts.
        display: renders a path for messages.
    """
    chain: list[Path] = []
    while EXTENDS in document.root.value:
        named = document.root.value[EXTENDS]
        own = Document(_without(document.root, EXTENDS), document.problems)
        if named.value is None:
            return own
        path, problem = _file(named, folders, chain, display)
        if path is None:
            return Document(own.root, (*own.problems, *problem))
        chain.append(path)
        lower = read(path, display(path))
        document = Document(merged(lower.root, own.root), (*own.problems, *lower.problems))
    return document


def with_auto(document: Document) -> Document:
    """Write `model: auto` out as the section that it stands for, so that --set may change it."""
    model = document.root.value.get(MODEL)
    if model is None or model.value != AUTO:
        return document
    section = {key: Node(value, model.place) for key, value in AUTO_SECTION.items()}
    root = Node({**document.root.value, MODEL: Node(section, model.place)}, document.root.place)
    return Document(root, document.problems)


def with_definitions(document: Document) -> Document:
    """Lay each feature over its definition, and drop the definitions."""
    definitions = document.root.child(DEFINITIONS)
    if definitions is None:
        return document
    root = _without(document.root, DEFINITIONS)
    if not isinstance(definitions.value, dict):
        found = shown(definitions.plain())
        problem = Problem(definitions.place, (DEFINITIONS,), "must be a mapping of features", found)
        return Document(root, (*document.problems, problem))
    features = root.child(FEATURES)
    used = set[str]()
    if features is not None and isinstance(features.value, list):
        used = {name for item in features.value if (name := _name(item)) is not None}
        items = [_defined(item, definitions.value) for item in features.value]
        root = Node({**root.value, FEATURES: Node(items, features.place)}, root.place)
    # A problem of a definition in use is reported for its feature.
    unused = (item for item in definitions.value.items() if item[0] not in used)
    return Document(root, (*document.problems, *_problems(unused)))


def _without(root: Node, key: str) -> Node:
    return Node({name: node for name, node in root.value.items() if name != key}, root.place)


def _file(
    named: Node, folders: Sequence[Path], chain: Sequence[Path], display: Callable[[Path], str]
) -> tuple[Path | None, list[Problem]]:
    def problem(message: str, found: str, allowed: str | None) -> tuple[None, list[Problem]]:
        return None, [Problem(named.place, (EXTENDS,), message, found, allowed)]

    name = named.value
    if not isinstance(name, str) or not re.search(YAML_PATH, name):
        return problem("cannot be used", shown(named.plain()), PATTERNS[YAML_PATH])
    path = next((folder / name for folder in folders if (folder / name).is_file()), None)
    if path is None:
        looked = " or ".join(dict.fromkeys(display(folder / name) for folder in folders))
        return problem("names a file that does not exist", name, looked)
    if path in chain:
        circle = " → ".join(display(link) for link in (*chain, path))
        return problem("goes in a circle", circle, "a chain of files that ends")
    return path, []


def _name(item: Node) -> str | None:
    name = item.child("name")
    text = name.value if name else item.value
    return text if isinstance(text, str) else None


def _defined(item: Node, definitions: Mapping[str, Node]) -> Node:
    name = _name(item)
    known = definitions.get(name) if name is not None else None
    if known is None or not isinstance(known.value, dict):
        return item
    own = item if isinstance(item.value, dict) else Node({"name": Node(name, item.place)}, item.place)
    return merged(known, own)


def _problems(definitions: Iterator[tuple[str, Node]]) -> Iterator[Problem]:
    for name, known in definitions:
        if not isinstance(known.value, dict):
            yield Problem(known.place, (DEFINITIONS, name), "must be a mapping", shown(known.plain()))
            continue
        feature = Node({"name": Node(name, known.place), **known.value}, known.place)
        for problem in check(Feature, feature)[1]:
            yield replace(problem, path=(DEFINITIONS, name, *problem.path))
