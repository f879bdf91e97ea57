"""YAML read as a tree whose every value knows the file and line it came from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from raypipe.config.problems import Key, Problem, shown

Value = Any  # dict[str, Node] | list[Node] | a scalar


@dataclass(frozen=True)
class Node:
    """A value of the configuration: a scalar, a list of nodes or a mapping of nodes, and where it was set."""

    value: Value
    place: str

    def plain(self) -> Any:
        """The value without the places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, key: str | int) -> Node | None:
        """The node below, or None where there is none."""
        if isinstance(self.value, dict):
            found = self.value.get(key)
            return found if isinstance(found, Node) else None
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key] if isinstance(self.value[key], Node) else None
        return None

    def nearest(self, path: Sequence[str | int]) -> tuple[Node, tuple[str | int, ...]]:
        """The deepest node on the way to `path`, and how far the way went."""
        node, walked = self, list[str | int]()
        for key in path:
            below = node.child(key)
            if below is None:
                break
            node = below
            walked.append(key)
        return node, tuple(walked)


@dataclass(frozen=True)
class Document:
    """What a file, or another source, sets, and what is wrong with it as YAML."""

    root: Node
    problems: tuple[Problem, ...] = field(default=())


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2, as editors read them: `no` is a word, `1e-3` is a number."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own registry, filled below


for _tag, _pattern, _first in (
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?(?:0|[1-9][0-9_]*)|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+"
        r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
    ("merge", r"^(?:<<)$", ["<"]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


def read(path: Path, name: str) -> Document:
    """The tree in a YAML file.

    Args:
        path: the file.
        name: how the file is called in messages.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = "is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else f"cannot be read ({error.strerror})"
        return Document(Node({}, name), (Problem(name, (), reason),))
    document = parse(text, name)
    if not isinstance(document.root.value, dict):
        return Document(Node({}, name), (Problem(name, (), "must be a mapping of keys", shown(document.root.plain())),))
    return document


def parse(text: str, name: str, lines: bool = True) -> Document:
    """The tree in YAML text; an empty text is an empty mapping.

    Args:
        text: the YAML.
        name: what the places are called.
        lines: whether places carry line numbers, as `name:line`.
    """
    try:
        # Made inside, since it refuses some characters at once.
        loader = _Loader(text)
        top = loader.get_single_node()
        if top is None:
            return Document(Node({}, name))
        builder = _Builder(loader, name, lines)
        value = builder.build(top, (), frozenset())
        return Document(Node(value, name), tuple(builder.problems))
    except yaml.YAMLError as error:
        return Document(Node({}, name), (_syntax_problem(error, name, lines),))


class _Builder:
    """Makes nodes of PyYAML's, and collects what plain YAML accepts but a configuration must not."""

    def __init__(self, loader: _Loader, name: str, lines: bool) -> None:
        self._loader = loader
        self._name = name
        self._lines = lines
        self._flattened: set[int] = set()
        self.problems: list[Problem] = []

    def build(self, node: yaml.Node, path: tuple[Key, ...], above: frozenset[int]) -> Value:
        if id(node) in above:
            self._problem(node, path, "contains itself, through an alias")
            return None
        above = above | {id(node)}
        if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN:
            self._problem(node, path, f"has the tag {node.tag}", allowed="values without a tag")
        if isinstance(node, yaml.MappingNode):
            return dict(self._entries(node, path, above))
        if isinstance(node, yaml.SequenceNode):
            return [
                Node(self.build(item, (*path, position), above), self._place(item))
                for position, item in enumerate(node.value)
            ]
        return self._loader.construct_object(node)

    def _entries(
        self, node: yaml.MappingNode, path: tuple[Key, ...], above: frozenset[int]
    ) -> Iterator[tuple[str, Node]]:
        if id(node) not in self._flattened:
            # A merge puts the merged keys beside a mapping's own, and an alias brings it here again: once is enough.
            self._flattened.add(id(node))
            self._refuse_repeated(node, path)
            self._loader.flatten_mapping(node)
        for key, value in node.value:
            if key.tag != "tag:yaml.org,2002:str":
                self._problem(key, path, "has a key that is no word", str(key.value), "words; quote a number")
                continue
            yield key.value, Node(self.build(value, (*path, key.value), above), self._place(key))

    def _refuse_repeated(self, node: yaml.MappingNode, path: tuple[Key, ...]) -> None:
        seen: dict[str, str] = {}
        for key, _ in node.value:
            name = str(key.value)
            if name in seen and name != "<<":
                self._problem(key, (*path, name), f"is set twice, first at {seen[name]}")
            seen.setdefault(name, self._place(key))

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}" if self._lines else self._name

    def _problem(
        self, node: yaml.Node, path: tuple[Key, ...], message: str, found: str | None = None, allowed: str | None = None
    ) -> None:
        self.problems.append(Problem(self._place(node), path, message, found, allowed))


def _syntax_problem(error: yaml.YAMLError, name: str, lines: bool) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark is not None and lines else name
        # The name of an alias is left out: it is a value from the file, perhaps a password that starts with `*`.
        reason = re.sub(r"alias '.*", "alias", str(error.problem or error.context))
        return Problem(place, (), f"is not YAML: {reason}")
    return Problem(name, (), "is not YAML: it holds a character that YAML forbids")
