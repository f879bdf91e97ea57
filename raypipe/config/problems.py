"""Everything that is wrong with a configuration, said at once: where, which key, what was found and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.config.fields import masked
from raypipe.errors import ConfigError

Key = str | int
LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        place: where it was set: `configs/churn.yaml:12`, `--set`, or a variable's name.
        path: the key, from the top of the configuration; empty for the whole.
        message: what is wrong, continuing a sentence that starts with the key.
        found: the value that was found, without secrets.
        allowed: what would be accepted.
    """

    place: str
    path: tuple[Key, ...]
    message: str
    found: str | None = None
    allowed: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.place}  {dotted(self.path)} {self.message}" if self.path else f"{self.place} {self.message}"]
        lines += [
            f"    {label}: {text}"
            for label, text in (("found", self.found), ("allowed", self.allowed))
            if text is not None
        ]
        return "\n".join(lines)


def dotted(path: Sequence[Key]) -> str:
    """A key as it is written on the command line: `levels.0.below`."""
    return ".".join(str(part) for part in path)


def shown(value: Any) -> str:
    """A value as a message shows it: what is inside a container stays unsaid, as it may be a secret."""
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if value is None:
        return "null"
    text = masked(str(value).lower() if isinstance(value, bool) else repr(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` was probably meant to be."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def refusal(what: str, problems: Sequence[Problem]) -> ConfigError:
    """The one error that tells all problems.

    Args:
        what: the thing that cannot be used, such as `The configuration of churn`.
        problems: at least one.
    """
    unique = list(dict.fromkeys(problems))
    count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
    body = "\n".join("  " + line for problem in unique for line in str(problem).splitlines())
    return ConfigError(
        f"{what} has {count}\n{body}", next_step="correct the places named; `raypipe config schema` describes every key"
    )
