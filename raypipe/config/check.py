"""Check a tree of values against a section; problems name file and line."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, TypeVar

from pydantic import ValidationError

from raypipe.config.document import Node
from raypipe.config.fields import PATTERNS, Breach, Section
from raypipe.config.problems import Key, Problem, nearest, shown

S = TypeVar("S", bound=Section)

_SECRET = re.compile(r"(?i)pass|pwd|secret|token")
_MUST_BE = "must be "
# Pydantic's words, and raypipe's.
_WORDS = {
    "Input should be ": _MUST_BE,
    "a valid tuple": "a list",
    "a valid integer": "a whole number",
    "a valid number": "a number",
    "a valid string": "text (quote it)",
    "a valid boolean": "true or false",
    "a valid dictionary": "a mapping",
}


def check(kind: type[S], root: Node) -> tuple[S | None, list[Problem]]:
    """Return the section that the tree describes, or None and every problem."""
    data = root.plain()
    config, errors = _attempt(kind, data)
    unknown = [error for error in errors if error["type"] == "extra_forbidden"]
    if unknown:
        # Pydantic checks rules between keys only once all keys are known, so the known keys get a second look.
        for error in unknown:
            _drop(data, error["loc"])
        errors = unknown + _attempt(kind, data)[1]
    schema = kind.model_json_schema(by_alias=True, mode="validation") if errors else {}
    problems = [problem for error in errors for problem in _problems(error, root, schema)]
    return (config, []) if not errors else (None, _joined(problems))


def _attempt(kind: type[S], data: Any) -> tuple[S | None, list[Any]]:
    try:
        return kind.model_validate(data, by_alias=True, by_name=False), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _drop(data: Any, path: tuple[Key, ...]) -> None:
    *way, last = path
    for key in way:
        data = data[key]
    del data[last]


def _problems(error: Mapping[str, Any], root: Node, schema: Mapping[str, Any]) -> Iterator[Problem]:
    path: tuple[Key, ...] = error["loc"]
    node, walked = root.nearest(path)
    if error["type"] == "breach":
        for breach in (Breach(**entry) for entry in error["ctx"]["breaches"]):
            at = breach.at if breach.top else (*path, *breach.at)
            yield Problem(root.nearest(at)[0].place, at, breach.message, breach.found, breach.allowed)
    elif error["type"] == "extra_forbidden":
        yield _unknown(node.place, path, schema)
    elif error["type"] == "missing":
        yield Problem(node.place, path, "is required", "nothing")
    else:
        message, allowed = _explained(error)
        yield Problem(node.place, walked or path, message, shown(node.plain()), allowed)


def _unknown(place: str, path: tuple[Key, ...], schema: Mapping[str, Any]) -> Problem:
    key = str(path[-1])
    if _SECRET.search(key):
        allowed = "a password in the variable RAYPIPE_PASSWORD, or in a file named by connection.password_file"
        return Problem(place, path, "is a secret, and a configuration never contains secrets", "***", allowed)
    known = _known_keys(schema, path[:-1])
    meant = nearest(key, known)
    message = f"is an unknown key; did you mean {meant}?" if meant else "is an unknown key"
    # The value is not shown: under a misspelt key it may be a secret.
    return Problem(place, path, message, allowed=", ".join(known))


def _known_keys(schema: Mapping[str, Any], path: tuple[Key, ...]) -> list[str]:
    here = _resolved(schema, schema)
    for key in path:
        # A mapping of names to sections has no properties of its own.
        below = here["items"] if isinstance(key, int) else here.get("properties", {}).get(key)
        here = _resolved(below or here["additionalProperties"], schema)
    return list(here["properties"])


def _resolved(part: Mapping[str, Any], schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the object or list that a part of a JSON Schema stands for."""
    if "$ref" in part:
        return _resolved(schema["$defs"][part["$ref"].rpartition("/")[2]], schema)
    choices = [_resolved(choice, schema) for choice in part.get("anyOf", ())]
    return next((choice for choice in choices if "properties" in choice or "items" in choice), part)


def _explained(error: Mapping[str, Any]) -> tuple[str, str | None]:
    """Return pydantic's complaint in raypipe's words, and what is allowed."""
    context = error.get("ctx", {})
    match error["type"]:
        case "literal_error":
            choices = str(context["expected"]).replace(" or ", ", ").replace("'", "").split(", ")
            if len(choices) == 1:
                # Another type of value is allowed as well, and its problem is joined to this one.
                return f"{_MUST_BE}{choices[0]}", None
            meant = nearest(str(error["input"]), choices)
            message = f"is not a valid choice; did you mean {meant}?" if meant else "is not a valid choice"
            return message, ", ".join(choices)
        case "string_pattern_mismatch":
            return "has the wrong form", PATTERNS.get(context["pattern"], context["pattern"])
        case "too_short":
            return "must not be empty", None
        case "string_too_short":
            return "must not be empty", "text, or no such key"
    text = re.sub(r" or instance of \w+", "", str(error["msg"]))
    for pydantic, ours in _WORDS.items():
        text = text.replace(pydantic, ours)
    return text, None


def _joined(problems: list[Problem]) -> list[Problem]:
    """Join the problems that the alternatives of one value have, so that each value has one problem."""
    joined: dict[tuple[str, tuple[Key, ...], str], Problem] = {}
    for problem in problems:
        at = (problem.place, problem.path, _MUST_BE if problem.message.startswith(_MUST_BE) else problem.message)
        before = joined.get(at)
        if before is None:
            joined[at] = problem
        elif problem.message != before.message:
            joined[at] = replace(before, message=f"{before.message} or {problem.message.removeprefix(_MUST_BE)}")
    return list(joined.values())
