"""The files of a sweep beside the rows of its trials.

FOLDER/NAME.json            the state at its beginning
FOLDER/NAME.result.json     its result

Both are JSON, and nothing else is read: others may be able to write to the folder.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

import fsspec

from raypipe.errors import DataError, UsageError

# Names come from the command line, and become names of tables.
_NAME = re.compile(r"\w+\Z", re.ASCII)


def begin(folder: str, name: str, state: Mapping[str, Any]) -> None:
    """Write the state at the beginning of a sweep."""
    _write(folder, f"{name}.json", state)


def has_begun(folder: str, name: str) -> bool:
    """Return whether there is such a sweep."""
    return _read(folder, f"{name}.json") is not None


def state(folder: str, name: str) -> dict[str, Any]:
    """Return the state at the beginning of a sweep.

    Raises:
        UsageError: there is no such sweep.
        DataError: the file cannot be read.
    """
    document = _read(folder, f"{name}.json") if _NAME.match(name) else None
    if document is None:
        raise UsageError(
            f"There is no sweep {name!r}",
            allowed=", ".join(_names(folder)) or "none: no sweep has begun",
            next_step="leave --resume out for a new sweep",
        )
    return document


def finish(folder: str, name: str, result: Mapping[str, Any]) -> None:
    """Write the result of a finished sweep."""
    _write(folder, f"{name}.result.json", result)


def result(folder: str, name: str) -> dict[str, Any] | None:
    """Return the result of a sweep; None for an unfinished sweep."""
    return _read(folder, f"{name}.result.json")


def _names(folder: str) -> list[str]:
    system, path = fsspec.url_to_fs(folder)
    files = system.glob(f"{path.rstrip('/')}/*.json")
    names = {name.rpartition("/")[2].removesuffix(".json") for name in files}
    return sorted(name for name in names if not name.endswith(".result"))


def _write(folder: str, name: str, document: Mapping[str, Any]) -> None:
    system, path = fsspec.url_to_fs(folder)
    system.makedirs(path, exist_ok=True)
    system.pipe_file(f"{path.rstrip('/')}/{name}", json.dumps(document, indent=1, default=str).encode())


def _read(folder: str, name: str) -> dict[str, Any] | None:
    system, path = fsspec.url_to_fs(folder)
    try:
        document = json.loads(system.cat_file(f"{path.rstrip('/')}/{name}"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        document = error
    if isinstance(document, dict):
        return document
    # A process that dies while it writes leaves such a file.
    raise DataError(
        f"{folder}/{name} is not a file of a sweep",
        found=document,
        allowed="a JSON object",
        next_step="remove the file: without NAME.json a sweep has not begun, without NAME.result.json it is unfinished",
    )
