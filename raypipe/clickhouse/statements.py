"""SQL text: `.sql` files with a header, safe identifiers and literals, and named placeholders.

A `.sql` file opens with `-- key: value` lines (grain, parameters, units …). Values are ClickHouse's own bound
parameters, written `{name:Type}`. A part that cannot be bound (an identifier, a list of columns, a predicate of
raypipe's) is a placeholder without a type, written `{name}`, which `render` fills. SQL that several files share is a
file of its own, included by `{include:shared/names.sql}`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from raypipe.clickhouse.parameters import PLACEHOLDER
from raypipe.errors import ConfigError, UsageError
from raypipe.project import sql_path, sql_text

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_HEADER = re.compile(r"--\s*([a-z_]+)\s*:\s*(.*)\Z")
_TOKEN = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`|/\*.*?\*/|--[^\n]*""", re.DOTALL)
# Quotes and comments match too, so that an include inside them stays text.
_INCLUDE = re.compile(_TOKEN.pattern + r"|\{include:(?P<include>[^{}]*)\}", re.DOTALL)
_INCLUDED = re.compile(r"[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)+\.sql")
_END = re.compile(r";[ \t\r]*(?:\n|\Z)")
_HOLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Statement:
    """One SQL statement of a file: its text, and the header lines above it."""

    text: str
    header: Mapping[str, str] = field(default_factory=dict)
    source: str = "<text>"

    @property
    def parameters(self) -> frozenset[str]:
        """Return the names of the text's bound parameters."""
        return frozenset(name for name, _ in PLACEHOLDER.findall(without_comments(self.text)))

    @property
    def placeholders(self) -> frozenset[str]:
        """Return the names of the untyped placeholders that `render` has to fill."""
        return frozenset(_HOLE.findall(without_comments(self.text)))

    def render(self, **fragments: str) -> str:
        """Return the text with each `{name}` replaced; every placeholder needs a fragment."""
        missing = self.placeholders - fragments.keys()
        if missing:
            raise ConfigError(
                f"{self.source} has an unknown placeholder",
                found=", ".join(f"{{{name}}}" for name in sorted(missing)),
                allowed=", ".join(f"{{{name}}}" for name in sorted(fragments))
                or "bound parameters such as {date:Date}",
            )
        return _HOLE.sub(lambda match: fragments[match.group(1)], without_comments(self.text))


def load(path: Path) -> Statement:
    """Return the single statement of a `.sql` file."""
    statements = load_all(path)
    if len(statements) != 1:
        raise ConfigError(f"{path} must hold exactly one statement", found=f"{len(statements)} statements")
    return statements[0]


def load_all(path: Path) -> list[Statement]:
    """Return every statement of a `.sql` file, in order; a statement ends with `;` at the end of a line."""
    try:
        return _read(path, path.parent.parent, ())
    except FileNotFoundError as error:
        raise ConfigError(
            f"The SQL file {path} does not exist", next_step="create it or correct its name in the config"
        ) from error


def _read(path: Path, folder: Path, chain: tuple[Path, ...]) -> list[Statement]:
    """Return a file's statements with each `{include:…}` replaced; the files of `chain` led to this one."""

    def filled(match: re.Match[str]) -> str:
        name = match["include"]
        return match[0] if name is None else _included(name, folder, (*chain, path))

    try:
        written = sql_text(path)
    except FileNotFoundError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"The SQL file {path} cannot be read",
            found="bytes that are not UTF-8 text" if isinstance(error, UnicodeDecodeError) else error.strerror,
            next_step="correct the file, or its name in the config",
        ) from error
    text = _INCLUDE.sub(filled, written)
    return [_statement(part, str(path)) for part in _split(text) if without_comments(part).strip()]


def _included(name: str, folder: Path, chain: tuple[Path, ...]) -> str:
    """Return the SQL of an included file, without header and comments."""
    where = chain[-1]
    if not _INCLUDED.fullmatch(name):
        raise ConfigError(
            f"{where} has an include that is not the path of a SQL file",
            found=repr(name),
            allowed="a path inside the sql folder, such as shared/names.sql",
        )
    path = sql_path(folder, name)
    if path in chain:
        raise ConfigError(
            f"{path} includes itself",
            found=" → ".join(str(file) for file in (*chain, path)),
            next_step=f"take {{include:{name}}} out of {where}",
        )
    try:
        statements = _read(path, folder, chain)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{where} includes a file that does not exist",
            found=str(path),
            next_step=f"create it, or correct {{include:{name}}} in {where}",
        ) from error
    if len(statements) != 1:
        raise ConfigError(f"An included file must hold one statement: {path}", found=f"{len(statements)} statements")
    return without_comments(statements[0].text).strip()


def _split(text: str) -> Iterator[str]:
    start = 0
    # A comment counts as blank and a quoted text as a word, so that a `;` inside them ends nothing.
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
    """Return the SQL without its comments; quoted text is kept."""
    return _TOKEN.sub(lambda match: "" if _is_comment(match[0]) else match[0], text)


def identifier(name: str) -> str:
    """Quote an identifier, `database.table` included; anything but plain names is refused before the network."""
    parts = name.split(".")
    if len(parts) > 2 or not all(_NAME.match(part) for part in parts):
        raise UsageError(
            "This name cannot be used in SQL",
            found=repr(name),
            allowed="letters, digits and underscores, not starting with a digit; optionally database.table",
            next_step="rename it, or correct it in the config",
        )
    return ".".join(f"`{part}`" for part in parts)


def quoted(name: str) -> str:
    """Quote a name that the server itself returned, whatever letters it has; see `identifier`."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(value: object) -> str:
    """Return a SQL literal for a value that cannot be bound, such as a partition or a comment."""
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
