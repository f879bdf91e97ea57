"""Take a configuration apart into its single values, for `raypipe config show`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import yaml

from raypipe.config.document import Node
from raypipe.config.problems import Key, dotted
from raypipe.config.schema import PipelineConfig

if TYPE_CHECKING:
    from raypipe.config.load import Loaded

DEFAULT = "default"
# Keys that mean nothing for a feature of the other kind are not shown.
_OF_CATEGORIES = ("encode", "vocabulary")
_OF_NUMBERS = ("monotone",)


def show(loaded: Loaded) -> list[tuple[str, Any, str]]:
    """Return every value of a configuration with its dotted path and its source."""
    return [(dotted(path), value, loaded.sources[dotted(path)]) for path, value in _leaves(_plain(loaded.config), ())]


def as_yaml(loaded: Loaded) -> str:
    """Return the configuration as one YAML document with its defaults; loading it gives the same configuration."""
    text: str = yaml.safe_dump(_plain(loaded.config), sort_keys=False, allow_unicode=True, width=120)
    return text


def sources_of(config: PipelineConfig, root: Node) -> dict[str, str]:
    """Return the source of each value: its place in the tree, or `default`."""
    return {dotted(path): _source(root, path) for path, _ in _leaves(_plain(config), ())}


def _source(root: Node, path: tuple[Key, ...]) -> str:
    node, walked = root.nearest(path)
    # Only the name of a feature that is given as a bare name comes from there.
    bare_name = walked == path[:-1] and path[-1] == "name" and isinstance(node.value, str)
    return node.place if walked == path or bare_name else DEFAULT


def _plain(config: PipelineConfig) -> Any:
    plain = config.model_dump(mode="json", by_alias=True)
    for feature in plain["features"]:
        for key in _OF_CATEGORIES if feature["kind"] == "number" else _OF_NUMBERS:
            del feature[key]
    return plain


def _leaves(value: Any, path: tuple[Key, ...]) -> Iterator[tuple[tuple[Key, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from _leaves(below, (*path, key))
    elif isinstance(value, list) and value:
        for position, below in enumerate(value):
            yield from _leaves(below, (*path, position))
    else:
        yield path, value
