"""The callback that long work reports its progress to."""

from collections.abc import Callable

# Called with the stage, the units that are done and the units in all; both are 0 where nothing can be counted.
Progress = Callable[[str, int, int], None]


def prefixed(name: str, progress: Progress) -> Progress:
    """Return a callback that puts a name before each stage."""
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)


def silent(_stage: str, _done: int, _total: int) -> None:
    """Report nothing."""
