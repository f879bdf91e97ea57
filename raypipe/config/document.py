"""Read YAML as a tree in which every value knows its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from raypipe.config.problems import Key, Problem, shown

Value = Any  # dict[str, Node] | list[Node] | a scalar
# The key and the value of every name in a mapping.
_Pairs = dict[str, tuple[yaml.Node, yaml.Node]]


@dataclass(frozen=True)
class Node:
    """A scalar, a list of nodes or a mapping of nodes, and the place where it was set."""

    value: Value
    place: str

    def plain(self) -> Any:
        """Return the value without the places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, key: str | int) -> Node | None:
        """Return the node below, or None."""
        if isinstance(self.value, dict):
            below: Node | None = self.value.get(key)
            return below
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            return cast(Node, self.value[key])
        return None

    def nearest(self, path: Sequence[str | int]) -> tuple[Node, tuple[str | int, ...]]:
        """Return the deepest node on the way to `path`, and the part of the path that leads to it."""
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
    """The values that a file or another source sets, and its problems as YAML."""

    root: Node
    problems: tuple[Problem, ...] = field(default=())


class _Loader(yaml.SafeLoader):
    """Safe YAML with the scalars of YAML 1.2, as editors read them: `no` is text, `1e-3` is a number."""

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


_MERGE = "tag:yaml.org,2002:merge"
_PLAIN = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
# Many times the largest configuration; aliases of aliases reach any number with a few lines.
MOST_VALUES = 50_000


def read(path: Path, name: str) -> Document:
    """Read the tree of a YAML file; `name` stands for the file in messages."""
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
    """Parse YAML text into a tree; an empty text is an empty mapping.

    Args:
        text: the YAML.
        name: the name in places.
        lines: whether places carry line numbers, as `name:line`.
    """
    try:
        # The constructor itself already refuses some characters.
        loader = _Loader(text)
        top = loader.get_single_node()
        if top is None:
            return Document(Node({}, name))
        builder = _Builder(loader, name, lines)
        builder.refuse_expansion(top)
        if builder.problems:
            return Document(Node({}, name), tuple(builder.problems))
        value = builder.build(top, (), frozenset())
        return Document(Node(value, name), tuple(builder.problems))
    except yaml.YAMLError as error:
        return Document(Node({}, name), (_syntax_problem(error, name, lines),))
    except RecursionError:
        return Document(Node({}, name), (Problem(name, (), "is nested too deeply"),))


class _Builder:
    """Turns PyYAML's nodes into a tree, and collects what YAML allows but a configuration must not contain."""

    def __init__(self, loader: _Loader, name: str, lines: bool) -> None:
        self._loader = loader
        self._name = name
        self._lines = lines
        self._merged: dict[int, _Pairs] = {}
        self.problems: list[Problem] = []

    def refuse_expansion(self, top: yaml.Node) -> None:
        """Note a problem where aliases expand to too many values; each node is counted once, so this is fast."""
        sizes: dict[int, int] = {}

        def size(node: yaml.Node) -> int:
            if id(node) not in sizes:
                # An alias to a node that is still open is refused later, as a circle.
                sizes[id(node)] = 0
                sizes[id(node)] = 1 + sum(size(child) for child in _children(node))
                if sizes[id(node)] > MOST_VALUES and not self.problems:
                    self._problem(node, (), "has aliases that expand to too many values", None, f"{MOST_VALUES:,}")
            return sizes[id(node)]

        size(top)

    def build(self, node: yaml.Node, path: tuple[Key, ...], above: frozenset[int]) -> Value:
        if id(node) in above:
            self._problem(node, path, "contains itself, through an alias")
            return None
        above = above | {id(node)}
        if isinstance(node, yaml.CollectionNode) and node.tag not in _PLAIN:
            self._problem(node, path, f"has the tag {node.tag}", allowed="values without a tag")
        if isinstance(node, yaml.MappingNode):
            return {
                name: Node(self.build(value, (*path, name), above), self._place(key))
                for name, (key, value) in self._pairs(node, path).items()
            }
        if isinstance(node, yaml.SequenceNode):
            return [
                Node(self.build(item, (*path, position), above), self._place(item))
                for position, item in enumerate(node.value)
            ]
        return self._loader.construct_object(node)

    def _pairs(self, node: yaml.MappingNode, path: tuple[Key, ...]) -> _Pairs:
        """Return a mapping's keys and values, its own before those that it merges."""
        if id(node) in self._merged:
            return self._merged[id(node)]
        # A mapping that merges itself finds itself empty.
        self._merged[id(node)] = {}
        merged: _Pairs = {}
        own: _Pairs = {}
        for key, value in node.value:
            if key.tag == _MERGE:
                for source in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                    merged = {**self._source(source, path), **merged}
            elif key.tag != "tag:yaml.org,2002:str":
                self._problem(key, path, "has a key that is not text", str(key.value), "text; quote a number")
            elif key.value in own:
                first = self._place(own[key.value][0])
                self._problem(key, (*path, key.value), f"is set twice, first at {first}")
            else:
                own[key.value] = (key, value)
        self._merged[id(node)] = {**merged, **own}
        return self._merged[id(node)]

    def _source(self, node: yaml.Node, path: tuple[Key, ...]) -> _Pairs:
        if isinstance(node, yaml.MappingNode):
            return self._pairs(node, path)
        self._problem(node, path, "merges a value that is not a mapping", allowed="<<: *mapping, or a list of them")
        return {}

    def _place(self, node: yaml.Node) -> str:
        return f"{self._name}:{node.start_mark.line + 1}" if self._lines else self._name

    def _problem(
        self, node: yaml.Node, path: tuple[Key, ...], message: str, found: str | None = None, allowed: str | None = None
    ) -> None:
        self.problems.append(Problem(self._place(node), path, message, found, allowed))


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        yield from (value for _, value in node.value)
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _syntax_problem(error: yaml.YAMLError, name: str, lines: bool) -> Problem:
    if isinstance(error, yaml.MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}" if mark is not None and lines else name
        # The name of an alias is left out: it is a value from the file, perhaps a password that starts with `*`.
        reason = re.sub(r"alias '.*", "alias", str(error.problem or error.context))
        return Problem(place, (), f"is not YAML: {reason}")
    return Problem(name, (), "is not YAML: it contains a character that YAML forbids")
