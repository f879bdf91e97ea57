"""Report all problems of a configuration at once: place, key, value and what is allowed."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from raypipe.errors import ConfigError
from raypipe.masking import masked

Key = str | int
LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """One problem of a configuration.

    Attributes:
        place: where the value was set: `configs/churn.yaml:12`, `--set`, or a variable's name.
        path: the key, from the top of the configuration; empty for the whole.
        message: the problem, continuing a sentence that starts with the key.
        found: the value, without secrets.
        allowed: the values that would be accepted.
    """

    place: str
    path: tuple[Key, ...]
    message: str
    found: str | None = None
    allowed: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.place}  {dotted(self.path)} {self.message}" if self.path else f"{self.place} {self.message}"]
        details = (("found", self.found), ("allowed", self.allowed))
        return "\n".join([*lines, *(f"    {label}: {text}" for label, text in details if text is not None)])


def dotted(path: Sequence[Key]) -> str:
    """Return a key as the command line writes it: `levels.0.below`."""
    return ".".join(str(part) for part in path)


def shown(value: Any) -> str:
    """Return a value as a message shows it, without the content of a container, which may be a secret."""
    if isinstance(value, dict):
        return f"a mapping of {len(value)}"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}"
    if value is None:
        return "null"
    text = masked(str(value).lower() if isinstance(value, bool) else repr(value))
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that `word` probably means."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return close[0] if close else None


def refusal(what: str, problems: Sequence[Problem]) -> ConfigError:
    """Return one error that lists all problems of `what`, such as `The configuration of churn`."""
    unique = list(dict.fromkeys(problems))
    count = "1 problem" if len(unique) == 1 else f"{len(unique)} problems"
    body = "\n".join("  " + line for problem in unique for line in str(problem).splitlines())
    return ConfigError(
        f"{what} has {count}\n{body}", next_step="correct the places named; `raypipe config schema` describes every key"
    )
