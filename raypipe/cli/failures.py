"""End a command that fails: with a message on stderr, a JSON document on stdout, and an exit code."""

from __future__ import annotations

import logging
import select
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import typer
from rich.logging import RichHandler
from typer.core import TyperGroup

from raypipe.cli import json_log, output
from raypipe.errors import RaypipeError, UsageError

if TYPE_CHECKING:
    from raypipe.cli.options import Options

FAILED = 1
REFUSED = 3
ALERT = 4
INTERRUPTED = 130
TERMINATED = 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a command as Ctrl-C does: a run gives its lock back and can be resumed."""


def end_at_sigterm() -> None:
    """Raise `Terminated` in the main thread at SIGTERM; a second SIGTERM ends the process at once."""
    signal.signal(signal.SIGTERM, _terminate)


def _terminate(*_: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


@contextmanager
def reported(options: Options) -> Iterator[None]:
    """Turn an error into a message and an exit code, with a traceback for --debug alone."""
    _log(options.debug, options.log_json)
    try:
        yield
    except typer.Exit:
        raise
    except RaypipeError as error:
        raise _ended(error, options) from None
    except KeyboardInterrupt as error:
        # A run that was under way notes on the interrupt that it can be resumed.
        next_step = "; ".join(getattr(error, "__notes__", ())) or options.after_interrupt or None
        is_terminated = isinstance(error, Terminated)
        interrupted = RaypipeError("terminated" if is_terminated else "interrupted", next_step=next_step)
        interrupted.exit_code = TERMINATED if is_terminated else INTERRUPTED
        raise _ended(interrupted, options) from None
    except Exception as error:
        if isinstance(error, BrokenPipeError) and not _output_is_read():
            # The reader has gone, such as `head`; Typer exits with 1.
            raise
        next_step = None if options.debug else "repeat with --debug and report the traceback"
        unexpected = RaypipeError(f"an unexpected {type(error).__name__}: {error}", next_step=next_step)
        raise _ended(unexpected, options) from None


@contextmanager
def tolerated() -> Iterator[None]:
    """Report a failed question about a published run without failing the command."""
    try:
        yield
    except RaypipeError as error:
        output.tell(f"the run is published, but its summary is incomplete: {error.problem}")


def _ended(error: RaypipeError, options: Options) -> SystemExit:
    if options.debug:
        output.tell(traceback.format_exc())
    if error.exit_code in (INTERRUPTED, TERMINATED):
        output.tell("; ".join(filter(None, (error.problem, error.next_step))), style="yellow")
    else:
        output.tell(f"error: {error}", style="red")
    if options.json and not options.has_printed:
        output.emit(error.to_json())
    return SystemExit(error.exit_code)


class Root(TyperGroup):
    """The `raypipe` command; it reports the errors of the command-line parser in JSON, too."""

    def main(self, *arguments: Any, **extra: Any) -> Any:
        """Run the command line and exit."""
        words = list(sys.argv[1:] if extra.get("args") is None else extra["args"])
        try:
            code = super().main(*arguments, **{**extra, "standalone_mode": False})
        except Exception as error:
            # Typer has a copy of click in some versions, so their exceptions have no class in common.
            if not hasattr(error, "show") or not hasattr(error, "format_message"):
                raise
            error.show()
            # Behind `--` stands another command.
            if "--json" in words[: words.index("--") if "--" in words else None]:
                context: Any = getattr(error, "ctx", None)
                command = context.command_path if context else "raypipe"
                misused = UsageError(error.format_message(), next_step=f"`{command} --help` lists the arguments")
                output.emit(misused.to_json())
            raise SystemExit(UsageError.exit_code) from None
        raise SystemExit(code or 0)


def _output_is_read() -> bool:
    """Tell whether the pipe behind stdout has a reader; true where stdout is no pipe."""
    with suppress(OSError, ValueError):
        pipe = select.poll()
        pipe.register(sys.stdout.fileno(), 0)
        return not any(event & select.POLLERR for _, event in pipe.poll(0))
    return True


def _log(debug: bool, as_json: bool) -> None:
    json_log.choose(as_json)
    handler = json_log.Handler() if as_json else RichHandler(console=output.err, show_path=False)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[handler], force=True)
    logging.getLogger("raypipe").setLevel(logging.DEBUG if debug else logging.INFO)
    # The driver and urllib3 log what they raise; raypipe's own message says more.
    for name in ("clickhouse_connect", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
