"""Define `raypipe config show` and `raypipe config schema`."""

from collections.abc import Sequence

import typer

from raypipe.cli import output
from raypipe.cli.options import Options, command
from raypipe.config.leaves import show
from raypipe.config.load import list_pipelines
from raypipe.config.schema import PipelineConfig, json_schema
from raypipe.data.split import rule_of

config = typer.Typer(help="Show the configuration, the source of each value, or its schema.", no_args_is_help=True)


@config.command("show")
@command(reads="config show")
def config_show(
    options: Options,
    pipeline: str | None = typer.Argument(None, metavar="PIPELINE", help="Without a name, the pipelines are listed."),
) -> None:
    """Show every value of a pipeline's configuration and its source.

    Example: raypipe config show churn --set model.rounds=100
    """
    if pipeline is None:
        names = list_pipelines(options.config)
        options.show({"pipelines": names}, output.table, ("pipeline",), [(name,) for name in names])
        return
    loaded = options.load(pipeline)
    leaves = show(loaded)
    document = {path: {"value": value, "source": source} for path, value, source in leaves}
    rows = [(path, repr(value), source) for path, value, source in leaves]
    options.show(document, _print, rows, loaded.config)


def _print(rows: Sequence[tuple[str, str, str]], shown: PipelineConfig) -> None:
    output.table(("key", "value", "source"), rows)
    if shown.source.date_column and shown.label:
        every = shown.split.train_every_days
        rule = rule_of(shown.split.train_snapshots, None if every == "auto" else every)
        output.say(f"training snapshots: {rule}; `raypipe fit` prints the dates")


@config.command("schema")
@command(needs_database=False)
def config_schema(options: Options) -> None:
    """Print the JSON Schema of the YAML files, for an editor.

    The output is JSON with --json and without.

    Example: raypipe config schema > configs/schema.json
    """
    output.emit(json_schema())
