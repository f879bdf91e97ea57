"""Compare the XGBoost that wrote a model with the XGBoost that reads it."""

import re

from raypipe.errors import ModelError

# UBJSON ends with the version that wrote it: an array of three small integers.
_WRITTEN_BY = re.compile(rb"\x07version\[#L\x00{7}\x03[iU](.)[iU](.)[iU](.)\}\Z", re.DOTALL)


def written_by(content: bytes) -> tuple[int, ...]:
    """Return the version of XGBoost that wrote a model; empty where the model does not end with it."""
    match = _WRITTEN_BY.search(content)
    return tuple(part[0] for part in match.groups()) if match else ()


def require_reader(content: bytes, installed: str) -> None:
    """Refuse a model of a newer XGBoost: an older version may read its trees without an error, and score otherwise."""
    written = written_by(content)
    if tuple(int(part) for part in installed.split(".")[:2]) < written[:2]:
        minor = ".".join(map(str, written[:2]))
        raise ModelError(
            "The model was written by a newer XGBoost than this machine has",
            found=f"XGBoost {installed} here, and a model of {'.'.join(map(str, written))}",
            allowed=f"XGBoost {minor} or newer",
            next_step=f"upgrade xgboost-cpu to {minor} or newer, or fit a new version with this XGBoost",
        )
