"""Keep modules from being imported, so that scoring starts sooner and takes less memory."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from typing import Any

import pyarrow as pa


class _Absent(MetaPathFinder):
    """Let imports of modules fail as if they were not installed, in the thread that hides them."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names
        self._thread = threading.get_ident()

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> None:
        if fullname.partition(".")[0] in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is left out of this process", name=fullname)


@contextmanager
def without(*names: str) -> Iterator[None]:
    """Hide these modules from this thread's imports inside the context; modules that are loaded already stay."""
    absent = _Absent(names)
    sys.meta_path.insert(0, absent)
    try:
        if "pandas" in names:
            # pyarrow looks for pandas once, when it makes its first value.
            pa.scalar(0)
        yield
    finally:
        sys.meta_path.remove(absent)


def arrow_without_pandas() -> None:
    """Keep pyarrow from importing pandas by itself, which takes a third of a second.

    Use it in a process that hands no pandas objects to pyarrow. `to_pandas` still imports pandas.
    """
    with without("pandas"):
        pass
