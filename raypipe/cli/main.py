"""Define the `raypipe` command: the commands of this folder, by group."""

from importlib import import_module
from typing import Any

import typer

from raypipe import __version__
from raypipe.cli import failures, output

# A command is the function, or the group, of its name in the file of its name.
COMMANDS = {
    "Prepare": ("demo", "migrate", "features", "config"),
    "Fit": ("fit", "sweep", "models"),
    "Score": ("plan", "score", "run", "resume", "rollback"),
    "Look": ("runs", "why", "audit", "validate", "reachable", "explore", "sql"),
    "Operate": ("nightly", "doctor", "submit", "server"),
}


class Grouped(failures.Root):
    """The `raypipe` command, whose help lists each command of a group in one whole line."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands into the help."""
        for group, names in COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl([(name, str(self.commands[name].help).splitlines()[0]) for name in names])


app = typer.Typer(
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Fit, score and publish models over ClickHouse with Ray, exactly once.\n\n"
    "Begin with `raypipe demo`, then `raypipe run churn`. Exit codes: 0 done, 1 failed, 2 unusable arguments or config,"
    " 3 a gate refused or a proof failed, 130 interrupted, 143 terminated.",
)
for name in (name for names in COMMANDS.values() for name in names):
    part = getattr(import_module(f"raypipe.cli.{name}"), name)
    app.add_typer(part, name=name) if isinstance(part, typer.Typer) else app.command()(part)


def _version(wanted: bool) -> None:
    if wanted:
        output.say(f"raypipe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    failures.end_at_sigterm()
    app(prog_name="raypipe")
