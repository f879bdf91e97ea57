"""Modules that a process does without, so that scoring starts sooner and stays smaller."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa


class _Absent(MetaPathFinder):
    """Answers for modules as if they were not installed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname.partition(".")[0] in self._names:
            raise ModuleNotFoundError(f"{fullname} is left out here", name=fullname)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Inside, these modules count as not installed, unless they are loaded already."""
    absent = _Absent(names)
    sys.meta_path.insert(0, absent)
    try:
        if "pandas" in names:
            # pyarrow looks for it once, when it makes its first value.
            pa.scalar(0)
        yield
    finally:
        sys.meta_path.remove(absent)


def arrow_without_pandas() -> None:
    """Keeps pyarrow from importing pandas on the side, which takes a third of a second.

    For a process in which nobody hands pandas' objects to pyarrow; `to_pandas` imports pandas all the same.
    """
    with without("pandas"):
        pass
