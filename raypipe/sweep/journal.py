"""What a sweep leaves beside the rows of its trials: how it began, and its result once it is over.

FOLDER/NAME.json            how it began
FOLDER/NAME.result.json     its result

Both are JSON and nothing else is read, since others may be able to write here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import fsspec

from raypipe.errors import DataError, UsageError

# Names come from the command line, and become names of tables too.
_NAME = re.compile(r"\w+\Z", re.ASCII)


def begin(folder: str, name: str, state: Mapping[str, Any]) -> None:
    """Writes how a sweep begins."""
    _write(folder, f"{name}.json", state)


def has_begun(folder: str, name: str) -> bool:
    """Whether there is such a sweep.

    Raises:
        DataError: what is stored of it cannot be read.
    """
    return _read(folder, f"{name}.json") is not None


def state(folder: str, name: str) -> dict[str, Any]:
    """How a sweep began.

    Raises:
        UsageError: there is no such sweep.
        DataError: what is stored of it cannot be read.
    """
    found = _read(folder, f"{name}.json") if _NAME.match(name) else None
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
    """The result of a sweep; None while it is not over.

    Raises:
        DataError: what is stored of it cannot be read.
    """
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
        found = json.loads(system.cat_file(f"{path.rstrip('/')}/{name}"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        found = error
    if isinstance(found, dict):
        return found
    # As a process that dies while it writes leaves it.
    raise DataError(
        f"{folder}/{name} is not what a sweep writes",
        found=found,
        allowed="a JSON object",
        next_step="remove that file: without NAME.json a sweep has not begun, without NAME.result.json it is not over",
    )
