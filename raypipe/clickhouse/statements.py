"""SQL text: `.sql` files with a header, safe identifiers and literals, and named placeholders.

A `.sql` file opens with `-- key: value` lines (grain, parameters, units …). Values travel as ClickHouse's
own bound parameters, written `{name:Type}`. What cannot be bound (an identifier, a list of columns, a
predicate made by raypipe) has a placeholder without a type, written `{name}`, filled by `render`. What several
files say alike stands in one of its own, written `{include:shared/names.sql}` where it belongs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from raypipe.errors import ConfigError, UsageError
from raypipe.project import sql_path

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEADER = re.compile(r"--\s*([a-z_]+)\s*:\s*(.*)\Z")
_BOUND = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\s*:")
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|/\*.*?\*/|--[^\n]*""", re.DOTALL)
# Quotes and comments are matched too, so that an include inside of them stays text.
_INCLUDE = re.compile(_TOKEN.pattern + r"|\{include:(?P<include>[^{}]*)\}", re.DOTALL)
_INCLUDED = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)+\.sql")
_END = re.compile(r";[ \t\r]*(?:\n|\Z)")
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Statement:
    """One SQL statement of a file: its text, and the header lines that stand above it."""

    text: str
    header: Mapping[str, str] = field(default_factory=dict)
    source: str = "<text>"

    @property
    def parameters(self) -> frozenset[str]:
        """The names of the bound parameters that the text asks for."""
        return frozenset(_BOUND.findall(without_comments(self.text)))

    @property
    def placeholders(self) -> frozenset[str]:
        """The names of the untyped placeholders that `render` has to fill."""
        return frozenset(_HOLE.findall(without_comments(self.text)))

    def render(self, **fragments: str) -> str:
        """The text with each `{name}` replaced; every placeholder must be given, an unused one may be."""
        missing = self.placeholders - fragments.keys()
        if missing:
            raise ConfigError(
                f"{self.source} has a placeholder that nothing fills",
                found=", ".join(f"{{{name}}}" for name in sorted(missing)),
                allowed=", ".join(f"{{{name}}}" for name in sorted(fragments))
                or "bound parameters such as {date:Date}",
            )
        return _HOLE.sub(lambda match: fragments[match.group(1)], without_comments(self.text))


def load(path: Path) -> Statement:
    """The single statement in a `.sql` file."""
    found = load_all(path)
    if len(found) != 1:
        raise ConfigError(f"{path} must hold exactly one statement", found=f"{len(found)} statements")
    return found[0]


def load_all(path: Path) -> list[Statement]:
    """Every statement in a `.sql` file, in order; a statement ends with `;` at the end of a line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"The SQL file {path} does not exist", next_step="create it or correct its name in the config"
        ) from error
    text = _with_includes(text, path.parent.parent, (path,))
    return [_statement(part, str(path)) for part in _split(text) if without_comments(part).strip()]


def _with_includes(text: str, folder: Path, chain: tuple[Path, ...]) -> str:
    """The text with each `{include:…}` replaced by the file that it names, without header and comments.

    Args:
        text: of the last file of the chain.
        folder: the project's folder of SQL, where the paths of includes begin.
        chain: the file that was asked for, and those that led from it to this text.
    """

    def filled(match: re.Match[str]) -> str:
        name = match["include"]
        return match[0] if name is None else _included(name, folder, chain)

    return _INCLUDE.sub(filled, text)


def _included(name: str, folder: Path, chain: tuple[Path, ...]) -> str:
    where = chain[-1]
    if not _INCLUDED.fullmatch(name):
        raise ConfigError(
            f"{where} includes what is no path of a SQL file",
            found=repr(name),
            allowed="a path inside the sql folder, such as shared/names.sql",
        )
    path = sql_path(folder, name)
    if path in chain:
        raise ConfigError(
            f"{path} includes itself",
            found=" → ".join(str(one) for one in (*chain, path)),
            next_step=f"take {{include:{name}}} out of {where}",
        )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{where} includes a file that does not exist",
            found=str(path),
            next_step=f"create it, or correct {{include:{name}}} in {where}",
        ) from error
    parts = [part for part in _split(_with_includes(text, folder, (*chain, path))) if without_comments(part).strip()]
    if len(parts) != 1:
        raise ConfigError(f"{path} must hold exactly one piece of SQL to be included", found=f"{len(parts)} pieces")
    return without_comments(_statement(parts[0], str(path)).text).strip()


def _split(text: str) -> Iterator[str]:
    start = 0
    # A comment counts as blank and a quoted text as a word, so that a `;` inside of them ends nothing.
    outline = _TOKEN.sub(lambda match: (" " if _is_comment(match[0]) else "_") * len(match[0]), text)
    for end in _END.finditer(outline):
        yield text[start : end.start()]
        start = end.end()
    yield text[start:]


def _is_comment(token: str) -> bool:
    return token.startswith(("--", "/*"))


def _statement(part: str, source: str) -> Statement:
    lines = part.strip().splitlines()
    header: dict[str, str] = {}
    body = 0
    for line in lines:
        if line.strip() and not line.lstrip().startswith("--"):
            break
        body += 1
        match = _HEADER.match(line.strip())
        if match:
            header[match.group(1)] = match.group(2).strip()
    return Statement("\n".join(lines[body:]).strip(), header, source)


def without_comments(text: str) -> str:
    """The SQL without its comments; what looks like one inside quotes is kept."""
    return _TOKEN.sub(lambda match: "" if _is_comment(match[0]) else match[0], text)


def identifier(name: str) -> str:
    """A quoted identifier, `database.table` included; anything but plain names is refused before the network."""
    parts = name.split(".")
    if len(parts) > 2 or not all(_NAME.match(part) for part in parts):
        raise UsageError(
            "Not a name raypipe puts into SQL",
            found=repr(name),
            allowed="letters, digits and underscores, not starting with a digit; optionally database.table",
        )
    return ".".join(f"`{part}`" for part in parts)


def quoted(name: str) -> str:
    """A quoted identifier for one name that the server itself told, whatever letters it has; see `identifier`."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value: object) -> str:
    """A SQL literal for a value that cannot be bound (a partition, a comment)."""
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, datetime):
        value = value.astimezone(UTC) if value.tzinfo else value
        return f"toDateTime('{value:%Y-%m-%d %H:%M:%S}', 'UTC')"
    if isinstance(value, date):
        return f"toDate('{value:%Y-%m-%d}')"
    if isinstance(value, str):
        return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
    raise UsageError("A value of this type has no SQL literal", found=f"{value!r} ({type(value).__name__})")
