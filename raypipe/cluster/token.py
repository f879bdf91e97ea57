"""Find the token of a Ray cluster in the places where Ray looks for it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from raypipe.errors import ConfigError

TOKEN_VARIABLE = "RAY_AUTH_TOKEN"
PATH_VARIABLE = "RAY_AUTH_TOKEN_PATH"
WHERE = f"{TOKEN_VARIABLE}, the file that {PATH_VARIABLE} names, or ~/.ray/auth_token"


@dataclass(frozen=True)
class Token:
    """A token and its source; a message never shows the value.

    Attributes:
        value: the token.
        source: the variable or the file.
    """

    value: str = field(repr=False)
    source: str


def find(environ: Mapping[str, str] = os.environ) -> Token | None:
    """Return this user's token, or None; the variable comes first, then the named file, then the default file.

    Raises:
        ConfigError: the file cannot be read, or is empty. Ray itself would end the process.
    """
    if value := environ.get(TOKEN_VARIABLE, "").strip():
        return Token(value, TOKEN_VARIABLE)
    if named := environ.get(PATH_VARIABLE):
        return Token(_read(Path(named)), f"{PATH_VARIABLE}={named}")
    default = Path(environ.get("HOME") or Path.home()) / ".ray" / "auth_token"
    return Token(_read(default), str(default)) if default.is_file() else None


def _read(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bytes that are not text"
        raise ConfigError(
            f"Ray's token cannot be read from {path}",
            found=reason,
            next_step=f"correct {PATH_VARIABLE}, or put the cluster's token into {TOKEN_VARIABLE}",
        ) from error
    if not text:
        raise ConfigError(f"The file of Ray's token, {path}, is empty", next_step="copy the cluster's token into it")
    return text
