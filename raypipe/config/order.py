"""Order the pipelines of a night by their dependencies."""

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter

from raypipe.errors import ConfigError


def ordered(after: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the pipelines in dependency order, alphabetically among equals.

    Args:
        after: by pipeline, the pipelines to run before it; pipelines that are not keys are ignored.

    Raises:
        ConfigError: pipelines wait for each other.
    """
    graph = {name: sorted(set(before) & after.keys()) for name, before in sorted(after.items())}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigError(
            "Pipelines wait for each other", found=" → ".join(error.args[1]), next_step="remove one from `after`"
        ) from error
