"""Define `raypipe config show` and `raypipe config schema`."""

import typer

from raypipe.cli import output
from raypipe.cli.options import Options, command
from raypipe.config.leaves import show
from raypipe.config.load import list_pipelines
from raypipe.config.schema import json_schema

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
    leaves = show(options.load(pipeline))
    document = {path: {"value": value, "source": source} for path, value, source in leaves}
    rows = [(path, repr(value), source) for path, value, source in leaves]
    options.show(document, output.table, ("key", "value", "source"), rows)


@config.command("schema")
@command(needs_database=False)
def config_schema(options: Options) -> None:
    """Print the JSON Schema of the YAML files, for an editor.

    The output is JSON with --json and without.

    Example: raypipe config schema > configs/schema.json
    """
    output.emit(json_schema())
