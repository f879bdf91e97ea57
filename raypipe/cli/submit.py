"""Define `raypipe submit`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from raypipe.cli import failures, output
from raypipe.cli.options import Options
from raypipe.cli.options import command as shared_options
from raypipe.cluster.job_request import Request, new_id, refuse_secrets, variables
from raypipe.errors import UsageError

if TYPE_CHECKING:
    from raypipe.cluster.job_server import JobState, Server

# Their result is about this machine, or they would never end.
REFUSED = ("submit", "server")
SIGNALLED = 128


@shared_options(needs_database=False)
def submit(
    options: Options,
    address: str = typer.Argument(metavar="ADDRESS", help="The cluster's dashboard: http(s)://host:port."),
    command: list[str] = typer.Argument(metavar="-- COMMAND", help="The raypipe command: `run churn --date latest`."),
    working_dir: Path | None = typer.Option(
        None,
        metavar="DIR",
        exists=True,
        file_okay=False,
        resolve_path=True,
        help="The folder to copy. Default: this folder, if it has `configs`.",
    ),
    requirements: Path | None = typer.Option(
        None,
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="Pinned packages for the job. Default: those of the nodes.",
    ),
    env: list[str] = typer.Option([], metavar="NAME[=VALUE]", help="A variable, never a secret. May be repeated."),
    no_wait: bool = typer.Option(False, "--no-wait", help="Return when the job is submitted."),
) -> None:
    """Run a raypipe command as a job of a Ray cluster.

    The job's log is followed, and its exit code becomes this command's. The job finds ClickHouse and its password in
    the environment of the cluster's nodes. Ray's token comes from RAY_AUTH_TOKEN, from the file that
    RAY_AUTH_TOKEN_PATH names, or from ~/.ray/auth_token. Ctrl-C leaves the job running.

    Example: raypipe submit http://ray-head:8265 -- run churn --date latest
    """
    options.after_interrupt = f"`ray job list --address {address}` shows whether the job was submitted"
    words = _usable(command)
    folder = working_dir or (Path.cwd() if Path("configs").is_dir() else None)
    request = Request(new_id(words), words, folder, requirements, variables(env))
    refuse_secrets(request)
    # Ray's client takes a second to import, so a wrong request is refused before.
    from raypipe.cluster import job_log, job_server

    server = job_server.connect(address)
    started = time.perf_counter()
    server.submit(request)
    name = request.submission_id
    stop = f"`{server.tool('stop', name)}` stops it"
    output.tell(f"submitted {name}; {stop}")
    options.after_interrupt = f"the job goes on; `{server.tool('logs --follow', name)}` shows it, {stop}"
    log = sys.stderr if options.json else sys.stdout
    state = None if no_wait else job_log.follow(server, name, partial(print, end="", flush=True, file=log))
    _show(options, request, server, state, time.perf_counter() - started)


def _show(options: Options, request: Request, server: Server, state: JobState | None, seconds: float) -> None:
    """Print the job's result, and exit with its code."""
    code = None if state is None else _exit_code(state)
    document = {
        "submission_id": request.submission_id,
        "address": server.address,
        "entrypoint": request.entrypoint,
        "status": "PENDING" if state is None else state.status,
        "exit_code": code,
        "seconds": round(seconds, 3),
    }
    options.show(document, lambda: None if state else output.say(request.submission_id))
    if state is not None:
        output.tell(f"{request.submission_id} {state.status.lower()} after {seconds:.0f} s")
        if state.status == "FAILED" and state.exit_code is None:
            # The command was never started, so the log is empty.
            output.tell(state.message)
    if code:
        raise typer.Exit(code)


def _exit_code(state: JobState) -> int:
    if state.status == "SUCCEEDED":
        return 0
    if state.status == "STOPPED":
        return failures.INTERRUPTED
    if state.exit_code is None:
        return failures.FAILED
    # A shell adds 128 to the number of the signal that ended a command.
    return state.exit_code if state.exit_code >= 0 else SIGNALLED - state.exit_code


def _usable(command: Sequence[str]) -> tuple[str, ...]:
    """Return the words of a raypipe command that this version understands.

    Raises:
        UsageError: the command would be refused on the cluster.
    """
    from raypipe.cli.main import app
    from raypipe.cli.models import ListByDefault

    words = tuple(command[1:] if command[0] == "raypipe" else command)
    known = typer.main.get_command(app)
    path = "raypipe"
    rest = list(words)
    while isinstance(getattr(known, "commands", None), dict):
        if isinstance(known, ListByDefault):
            rest = known.with_command(rest)
        name = rest.pop(0) if rest else ""
        allowed = sorted(set(known.commands) - set(REFUSED))  # type: ignore[attr-defined]
        if name not in allowed:
            raise UsageError(
                "A cluster cannot run this command",
                found=f"{path} {name}".strip(),
                allowed=", ".join(allowed),
                next_step="write the command after --, as in `raypipe submit ADDRESS -- run churn`",
            )
        known, path = known.commands[name], f"{path} {name}"  # type: ignore[attr-defined]
    if "--help" in rest:
        raise UsageError("The job would only print its help", found=path, next_step=f"`{path} --help` needs no cluster")
    try:
        known.make_context(path, rest)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        problem = f"The job's command `{path}` has unusable arguments"
        raise UsageError(problem, found=error.format_message(), next_step=f"`{path} --help`") from error
    return words
