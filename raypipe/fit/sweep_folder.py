"""What a sweep leaves beside Ray Tune's experiment, so that it can go on: how it began, and its result once it is over.

FOLDER/NAME.json            how it began
FOLDER/NAME/                Ray Tune's own
FOLDER/NAME.result.json     its result
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import fsspec

from raypipe.errors import UsageError


def begin(folder: str, name: str, state: Mapping[str, Any]) -> None:
    """Writes how a sweep begins."""
    _write(folder, f"{name}.json", state)


def has_begun(folder: str, name: str) -> bool:
    """Whether there is such a sweep."""
    return _read(folder, f"{name}.json") is not None


def state(folder: str, name: str) -> dict[str, Any]:
    """How a sweep began.

    Raises:
        UsageError: there is no such sweep.
    """
    found = _read(folder, f"{name}.json")
    if found is None:
        raise UsageError(
            f"There is no sweep {name!r}",
            allowed=", ".join(_names(folder)) or "none: no sweep has begun",
            next_step="leave --resume out for a new sweep",
        )
    return found


def finish(folder: str, name: str, result: Mapping[str, Any]) -> None:
    """Writes the result of a sweep that is over."""
    _write(folder, f"{name}.result.json", result)


def result(folder: str, name: str) -> dict[str, Any] | None:
    """The result of a sweep; None while it is not over."""
    return _read(folder, f"{name}.result.json")


def _names(folder: str) -> list[str]:
    system, path = fsspec.url_to_fs(folder)
    found = system.glob(f"{path.rstrip('/')}/*.json")
    names = {name.rpartition("/")[2].removesuffix(".json") for name in found}
    return sorted(name for name in names if not name.endswith(".result"))


def _write(folder: str, name: str, document: Mapping[str, Any]) -> None:
    system, path = fsspec.url_to_fs(folder)
    system.makedirs(path, exist_ok=True)
    system.pipe_file(f"{path.rstrip('/')}/{name}", json.dumps(document, indent=1, default=str).encode())


def _read(folder: str, name: str) -> dict[str, Any] | None:
    system, path = fsspec.url_to_fs(folder)
    try:
        found: dict[str, Any] = json.loads(system.cat_file(f"{path.rstrip('/')}/{name}"))
    except FileNotFoundError:
        return None
    return found
