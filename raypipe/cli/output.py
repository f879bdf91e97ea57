"""What commands print: one JSON document on stdout, or tables; progress and messages on stderr."""

from __future__ import annotations

import json
import logging
import math
import os
import select
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime
from typing import Any

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from raypipe.errors import RaypipeError

# A log or a pipe has no width of its own; ids and errors should not be cut there.
WIDE = 200
SMALLEST = 0.00005


def _console(stderr: bool = False) -> Console:
    # What is printed comes out of tables and errors: `[a]` and `:b:` in it are text, not markup.
    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False}
    console = Console(stderr=stderr, **plain)
    return console if console.is_terminal else Console(stderr=stderr, width=WIDE, **plain)


out = _console()
err = _console(stderr=True)

FAILED = 1
INTERRUPTED = 130
RESUMABLE = "`raypipe runs` shows what can be resumed"


def emit(document: Mapping[str, Any]) -> None:
    """Prints a JSON document on stdout; numbers that JSON lacks (NaN, infinities) are null."""
    sys.stdout.write(json.dumps(_jsonable(document), indent=2, allow_nan=False) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], title: str | None = None) -> None:
    """Prints a table for people."""
    drawn = Table(*columns, title=title, title_justify="left")
    for row in rows:
        drawn.add_row(*(_shown(value) for value in row))
    out.print(drawn)


def say(message: str) -> None:
    """Prints a line for people."""
    out.print(message, soft_wrap=True)


def tell(message: str) -> None:
    """Prints a line for people beside the output proper, on stderr."""
    err.print(message, soft_wrap=True)


@contextmanager
def reported(debug: bool, interrupted: str = "") -> Iterator[None]:
    """Turns errors into a message and an exit code; a traceback only where it was asked for.

    Args:
        debug: whether the traceback is printed as well.
        interrupted: what to do after a Ctrl-C.
    """
    _log(debug)
    try:
        yield
    except typer.Exit:
        raise
    except RaypipeError as error:
        raise _ended(str(error), error.exit_code, debug) from None
    except KeyboardInterrupt:
        raise _ended(f"interrupted; {interrupted}" if interrupted else "interrupted", INTERRUPTED, debug) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not _output_is_read():
            # Whoever read it has gone, such as `head`; Python would complain once more when it flushes at exit.
            _close_output()
            raise SystemExit(FAILED) from None
        text = f"an unexpected {type(error).__name__}: {error}"
        if not debug:
            text += "\n  next: repeat with --debug and report the traceback"
        raise _ended(text, FAILED, debug) from None


def _ended(text: str, code: int, debug: bool) -> SystemExit:
    """Prints why a command ends, with the traceback above it in debug mode."""
    if debug:
        err.print(traceback.format_exc(), soft_wrap=True)
    if code == INTERRUPTED:
        err.print(text, style="yellow", soft_wrap=True)
    else:
        err.print(f"error: {text}", style="red", soft_wrap=True)
    return SystemExit(code)


def _output_is_read() -> bool:
    """Whether the pipe that stdout is has a reader still; true where it is no pipe."""
    with suppress(OSError, ValueError):
        pipe = select.poll()
        pipe.register(sys.stdout.fileno(), 0)
        return not any(event & select.POLLERR for _, event in pipe.poll(0))
    return True


def _close_output() -> None:
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
    last: tuple[str, int] | None = None

    def line(stage: str, done: int, total: int) -> None:
        nonlocal last
        # One line a tenth of the way keeps a nightly log readable.
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
        # What four places would round to nothing is not nothing.
        return f"{value:.2g}" if 0 < abs(value) < SMALLEST else f"{value:.4f}"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return str(value)


def _jsonable(value: object) -> object:
    """The value as JSON can hold it."""
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
