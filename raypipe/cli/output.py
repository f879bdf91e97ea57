"""What commands print: one JSON document on stdout, or tables; progress and messages on stderr."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from raypipe.errors import RaypipeError

# A log or a pipe has no width of its own; ids and errors should not be cut there.
WIDE = 200


def _console(stderr: bool = False) -> Console:
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=WIDE)


out = _console()
err = _console(stderr=True)

INTERRUPTED = 130


def emit(document: Mapping[str, Any]) -> None:
    """Prints a JSON document on stdout."""
    sys.stdout.write(json.dumps(document, indent=2, default=_plain) + "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Prints a table for people."""
    drawn = Table(*columns, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(_shown(value) for value in row))
    out.print(drawn)


def say(message: str) -> None:
    """Prints a line for people."""
    out.print(message, highlight=False)


@contextmanager
def reported(debug: bool) -> Iterator[None]:
    """Turns errors into a message and an exit code; a traceback only where it was asked for."""
    _log(debug)
    try:
        yield
    except RaypipeError as error:
        if debug:
            raise
        err.print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(error.exit_code) from None
    except KeyboardInterrupt:
        err.print("interrupted; `raypipe runs` shows what can be resumed", style="yellow")
        raise SystemExit(INTERRUPTED) from None
    except Exception as error:
        if debug:
            raise
        err.print(
            f"error: an unexpected {type(error).__name__}: {error}\n"
            "  next: repeat with --debug and report the traceback",
            style="red",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        raise SystemExit(1) from None


def _log(debug: bool) -> None:
    logging.basicConfig(
        level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=err, show_path=False)], force=True
    )
    logging.getLogger("raypipe").setLevel(logging.DEBUG if debug else logging.INFO)
    # The driver reports what it raises as well; raypipe's own message says more.
    logging.getLogger("clickhouse_connect").setLevel(logging.CRITICAL)


@contextmanager
def progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress report: bars on a terminal, a plain line a step elsewhere, always on stderr."""
    if err.is_terminal:
        with _bars() as report:
            yield report
        return
    started = time.perf_counter()
    last: list[tuple[str, int]] = []

    def line(stage: str, done: int, total: int) -> None:
        # One line a tenth of the way keeps a nightly log readable.
        step = (stage, 10 * done // total if total else 0)
        if last[-1:] != [step]:
            last.append(step)
            count = f" {done}/{total}" if total > 1 else ""
            err.print(f"{time.perf_counter() - started:7.1f}s  {stage}{count}", highlight=False)

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
        return f"{value:.4f}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def _plain(value: object) -> object:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    return str(value)
