"""Read a secret that the configuration only refers to."""

import os
from pathlib import Path

from raypipe.clickhouse.file_access import others_may_read
from raypipe.errors import ConfigError


def reveal(key: str, variable: str | None, file: str | None) -> str | None:
    """Return the secret in a variable or a file; None without a reference.

    Args:
        key: the place of the reference in the configuration, without its ending `_variable` or `_file`.

    Raises:
        ConfigError: the variable is empty, or the file cannot be read or is readable by others.
    """
    if variable:
        value = os.environ.get(variable, "").strip()
        if not value:
            raise ConfigError(f"The variable {variable} of {key}_variable is empty", next_step=f"set {variable}")
        return value
    return _in_file(key, Path(file)) if file else None


def _in_file(key: str, path: Path) -> str:
    try:
        readable_by_others, text = others_may_read(path), path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The file {path} of {key}_file cannot be read",
            found=error.strerror if isinstance(error, OSError) else "bytes that are not UTF-8 text",
            next_step=f"correct {key}_file, or the file",
        ) from error
    if readable_by_others:
        raise ConfigError(f"The file {path} of {key}_file is readable by others", next_step=f"run `chmod 600 {path}`")
    if not text:
        raise ConfigError(f"The file {path} of {key}_file is empty", next_step="write the secret into it")
    return text
