"""The command that runs another one on a Ray cluster."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from raypipe.cli import output
from raypipe.cli.options import Debug, Json
from raypipe.cluster.job_request import Request, new_id, refuse_secrets, variables
from raypipe.errors import UsageError

if TYPE_CHECKING:
    from raypipe.cluster.job_server import Server, State

# They answer for this machine, or would never end.
ELSEWHERE = ("submit", "server")
SIGNALLED = 128

app = typer.Typer()


@app.command()
def submit(
    address: Annotated[
        str, typer.Argument(metavar="ADDRESS", help="Where the cluster's dashboard answers: http(s)://host:port.")
    ],
    command: Annotated[
        list[str], typer.Argument(metavar="-- COMMAND", help="The raypipe command, such as `run churn --date latest`.")
    ],
    working_dir: Annotated[
        Path | None,
        typer.Option(
            "--working-dir",
            metavar="DIR",
            help="The folder that is copied to the cluster. Default: this one, when it has `configs`; else none.",
        ),
    ] = None,
    requirements: Annotated[
        Path | None,
        typer.Option(
            "--requirements",
            metavar="FILE",
            help="Packages for the job, pinned, in the form of requirements.lock. Default: what the nodes have.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", metavar="NAME[=VALUE]", help="A variable for the job, never a secret. May be repeated."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Return when the job is submitted.")] = False,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a raypipe command as a job of a Ray cluster; follow its log, and exit as it does.

    The job finds ClickHouse and its password in the environment of the cluster's nodes. Ray's token is looked for in
    RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH names, and in ~/.ray/auth_token. Ctrl-C leaves the job running.

    Example: raypipe submit http://ray-head:8265 -- run churn --date latest
    """
    with output.reported(debug, f"`ray job list --address {address}` shows whether the job was submitted"):
        words = _usable(command)
        request = Request(new_id(words), words, _folder(working_dir), _file(requirements), variables(env or ()))
        refuse_secrets(request)
        # Ray's client takes a second to import: what is wrong with the request is told before.
        from raypipe.cluster import job_log, job_server

        found = job_server.connect(address)
        started = time.perf_counter()
        found.submit(request)
        name = request.submission_id
        stop = f"`{found.tool('stop', name)}` stops it"
        output.tell(f"submitted {name}; {stop}")
        state = None
        if not no_wait:
            going = f"the job goes on; `{found.tool('logs --follow', name)}` shows it, {stop}"
            with output.reported(debug, going):
                state = job_log.follow(found, name, _write_err if json else _write_out)
        _show(request, found, state, time.perf_counter() - started, json)


def _show(request: Request, found: Server, state: State | None, seconds: float, json: bool) -> None:
    """Prints how it went, and exits as the job did."""
    code = None if state is None else _exit_code(state)
    if json:
        output.emit(
            {
                "submission_id": request.submission_id,
                "address": found.address,
                "entrypoint": request.entrypoint,
                "status": "PENDING" if state is None else state.status,
                "exit_code": code,
                "seconds": round(seconds, 3),
            }
        )
    elif state is None:
        output.say(request.submission_id)
    if state is not None:
        output.tell(f"{request.submission_id} {state.status.lower()} after {seconds:.0f} s")
        if state.status == "FAILED" and state.exit_code is None:
            # The command was never started, so the log says nothing.
            output.tell(state.message)
    if code:
        raise typer.Exit(code)


def _exit_code(state: State) -> int:
    if state.status == "SUCCEEDED":
        return 0
    if state.status == "STOPPED":
        return output.INTERRUPTED
    if state.exit_code is None:
        return output.FAILED
    # As a shell has it for a command that a signal ended.
    return state.exit_code if state.exit_code >= 0 else SIGNALLED - state.exit_code


def _usable(command: Sequence[str]) -> tuple[str, ...]:
    """The words of a raypipe command that this version understands.

    Raises:
        UsageError: it would fail on the cluster for what it says.
    """
    from raypipe.cli.main import app as every

    words = tuple(command[1:] if command[0] == "raypipe" else command)
    known = typer.main.get_command(every)
    path = "raypipe"
    rest = list(words)
    while isinstance(getattr(known, "commands", None), dict):
        name = rest.pop(0) if rest else ""
        allowed = sorted(set(known.commands) - set(ELSEWHERE))  # type: ignore[attr-defined]
        if name not in allowed:
            raise UsageError(
                "This is no raypipe command that a cluster can run",
                found=f"{path} {name}".strip(),
                allowed=", ".join(allowed),
                next_step="write the command after --, as in `raypipe submit ADDRESS -- run churn`",
            )
        known, path = known.commands[name], f"{path} {name}"  # type: ignore[attr-defined]
    if "--help" in rest:
        raise UsageError("A job that prints a help text", found=path, next_step=f"`{path} --help` needs no cluster")
    try:
        known.make_context(path, rest)
    except Exception as error:
        # Typer has its own copy of click in some versions, and their exceptions differ.
        if not hasattr(error, "format_message"):
            raise
        raise UsageError(
            f"`{path}` cannot be run like this", found=error.format_message(), next_step=f"`{path} --help`"
        ) from error
    return words


def _folder(given: Path | None) -> Path | None:
    if given is None:
        return Path.cwd() if Path("configs").is_dir() else None
    if not given.is_dir():
        raise UsageError("The working directory does not exist", found=str(given), allowed="a folder, or none")
    return given.resolve()


def _file(given: Path | None) -> Path | None:
    if given is not None and not given.is_file():
        raise UsageError("The requirements file does not exist", found=str(given), next_step="correct --requirements")
    return given


def _write_out(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _write_err(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()
