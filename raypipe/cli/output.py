"""Print for commands: one JSON document or tables on stdout; progress and messages on stderr."""

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from raypipe.cli import json_log

# A log or a pipe has no width of its own; ids and errors should not be cut there.
WIDE = 200
SMALLEST = 0.00005


def _console(stderr: bool = False) -> Console:
    # The text comes out of tables and errors: `[a]` and `:b:` in it are text, not markup.
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    console = Console(stderr=stderr, **plain)
    return console if console.is_terminal else Console(stderr=stderr, width=WIDE, **plain)


out = _console()
err = _console(stderr=True)


def emit(document: Mapping[str, Any]) -> None:
    """Print a JSON document on stdout; numbers that JSON lacks (NaN, infinities) are null."""
    sys.stdout.write(json.dumps(_jsonable(document), indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def emit_line(document: Mapping[str, Any]) -> None:
    """Print a JSON document on one line of stdout, as one of several."""
    sys.stdout.write(json.dumps(_jsonable(document), allow_nan=False) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Print a table."""
    out.print(_table(columns, rows, title))


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> Table:
    drawn = Table(*columns, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(_shown(value) for value in row))
    return drawn


@contextmanager
def live() -> Iterator[Callable[[Sequence[str], Sequence[Sequence[object]]], None]]:
    """Yield a function that shows a table in place of the table before it, on a terminal."""
    with Live(console=out, auto_refresh=False) as screen:
        yield lambda columns, rows: screen.update(_table(columns, rows), refresh=True)


def pairs(title: str, values: Mapping[str, object]) -> None:
    """Print a document's values as a table of two columns."""
    texts = {name: ", ".join(map(str, value)) if isinstance(value, list) else value for name, value in values.items()}
    table((title, ""), [(name.replace("_", " "), text) for name, text in texts.items()])


def say(message: str) -> None:
    """Print a line on stdout."""
    out.print(message, soft_wrap=True)


def warn(warnings: Sequence[str]) -> None:
    """Print a line for each warning on stdout."""
    for warning in warnings:
        say(f"warning: {warning}")


def tell(message: str, style: str | None = None) -> None:
    """Print a line on stderr."""
    if json_log.is_wanted():
        json_log.write("error" if style == "red" else "info", message)
        return
    err.print(message, style=style, soft_wrap=True)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """Report progress on stderr: bars on a terminal, a plain line per step elsewhere, JSON with --log-json."""
    if json_log.is_wanted():
        yield json_log.progress()
        return
    if err.is_terminal:
        with _bars() as report:
            yield report
        return
    started = time.perf_counter()
    last: tuple[str, int] | None = None

    def line(stage: str, done: int, total: int) -> None:
        nonlocal last
        # One line per tenth keeps a nightly log readable.
        step = (stage, 10 * done // total if total else 0)
        if step != last:
            last = step
            count = f" {done}/{total}" if total > 1 else ""
            err.print(f"{time.perf_counter() - started:7.1f}s  {stage}{count}")

    yield line


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total or None)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield report


def _shown(value: object) -> str:
    if isinstance(value, float):
        # Four decimals must not round a small number to nothing.
        return f"{value:.2g}" if 0 < abs(value) < SMALLEST else f"{value:.4f}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def _jsonable(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
