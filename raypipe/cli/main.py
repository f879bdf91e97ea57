"""Define the `raypipe` command: the commands of this folder, by group."""

import gc
from importlib import import_module
from typing import Any

import typer

from raypipe import __version__
from raypipe.cli import failures, output

# A command is the function, or the group, of its name in the file of its name. The list has the first line of its help,
# because importing all of them takes a second.
COMMANDS = {
    "Prepare": {
        "demo": "Fill the database with a synthetic publisher.",
        "migrate": "Create missing tables; report how existing tables differ.",
        "features": "Compute the snapshots of customer_user_features that are missing.",
        "config": "Show the configuration, the source of each value, or its schema.",
    },
    "Fit": {
        "fit": "Fit, evaluate and register a version of a pipeline's model.",
        "compare": "Compare two configurations of a pipeline on the same test rows.",
        "sweep": "Search for a better configuration; register the best as a candidate.",
        "models": "List, promote, prune and export model versions.",
    },
    "Score": {
        "plan": "Show what `score` would do with the same options; change nothing.",
        "score": "Score a whole population and publish it, all or nothing.",
        "run": "Fit if there is no champion; then score, publish, measure drift.",
        "resume": "Finish an interrupted run; it repeats only unfinished slices.",
        "rollback": "Restore the previous champion and its published predictions.",
    },
    "Experiment": {
        "assign": "Assign units to the arms of an experiment; log each exposure.",
        "abtest": "Compare the arms of an experiment over any table.",
    },
    "Look": {
        "report": "Write static pages of nights, models, experiments, data.",
        "show": "Show published rows with names in place of ids.",
        "runs": "List the scoring runs, newest first.",
        "verify": "Prove a published run by plain SQL that anybody can run again.",
        "why": "Score one entity again and compare with its published prediction.",
        "audit": "Compare the features of a published date with the source now.",
        "validate": "Compare earlier predictions with what happened.",
        "reachable": "Show each model of a demo beside the best possible score.",
        "explore": "Profile every table: ranges, gaps, keys, relations, hazards.",
        "sql": "Run a statement on the configured ClickHouse and print its rows.",
    },
    "Operate": {
        "nightly": "Build the day's features, then run every enabled pipeline.",
        "alerts": "List open and past alerts, or send a test message.",
        "doctor": "Check whether a run would work; exit 1 when it would fail.",
        "submit": "Run a raypipe command as a job of a Ray cluster.",
        "server": "Keep the embedded ClickHouse up for other programs.",
    },
}


class _Commands(dict[str, Any]):
    """The commands by name; a command is imported when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        command = super().__getitem__(name)
        if command is None:
            self[name] = command = _imported(name)
        return command

    def get(self, name: str, default: Any = None) -> Any:
        if name not in self:
            return default
        return self[name]

    def items(self) -> Any:
        return [(name, self[name]) for name in self]


def _imported(name: str) -> Any:
    part = getattr(import_module(f"raypipe.cli.{name}"), name)
    alone = typer.Typer(rich_markup_mode=None)
    alone.add_typer(part, name=name) if isinstance(part, typer.Typer) else alone.command(name)(part)
    return typer.main.get_group(alone).commands[name]


class Grouped(failures.Root):
    """The `raypipe` command, whose help lists each command of a group in one whole line."""

    def __init__(self, **attributes: Any) -> None:
        names = [name for group in COMMANDS.values() for name in group]
        super().__init__(**{**attributes, "commands": _Commands.fromkeys(names)})

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands into the help."""
        for group, commands in COMMANDS.items():
            with formatter.section(group):
                formatter.write_dl(list(commands.items()))


app = typer.Typer(
    cls=Grouped,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Fit, score and publish models over ClickHouse with Ray, exactly once.\n\n"
    "Begin with `raypipe demo`, then `raypipe run churn`. Exit codes: 0 done, 1 failed, 2 unusable arguments or config,"
    " 3 a gate refused or a proof failed, 4 an alert is open (nightly --fail-on alert), 130 interrupted, 143"
    " terminated.",
)


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
    # The default looks for garbage after every 700 new objects: a seventh of the time of the imports, which leave none.
    gc.set_threshold(50_000, 20, 20)
    failures.end_at_sigterm()
    try:
        app(prog_name="raypipe")
    finally:
        # At its exit Python would search all that was imported for garbage: a fifth of a second.
        gc.freeze()
