"""The callback that long work reports its progress to."""

from collections.abc import Callable

# Called with the stage, the units that are done and the units in all; both are 0 where nothing can be counted.
Progress = Callable[[str, int, int], None]
