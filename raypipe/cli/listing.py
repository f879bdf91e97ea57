"""The commands that look at runs and the configuration."""

from __future__ import annotations

from typing import Annotated

import typer

from raypipe.cli import output
from raypipe.cli.options import Config, Debug, Json, Limit, Only, Set, Url, client_of, require_pipeline
from raypipe.config.leaves import show
from raypipe.config.load import list_pipelines, load_pipeline
from raypipe.config.schema import json_schema
from raypipe.score import runs as scoring_runs

app = typer.Typer()
config_app = typer.Typer(
    help="Show the configuration, where each value comes from, and its JSON Schema.", no_args_is_help=True
)
app.add_typer(config_app, name="config")


@app.command()
def runs(
    pipeline: Only = None,
    limit: Limit = 20,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the scoring runs, newest first.

    A run that is RUNNING without a process, STAGED, PUBLISHING or FAILED is finished with `raypipe resume`.

    Example: raypipe runs churn --limit 5
    """
    with output.reported(debug), client_of(config, url) as client:
        found = scoring_runs.listed(client, pipeline, limit)
        if not found:
            require_pipeline(pipeline, config)
        names = (
            "run_id",
            "pipeline",
            "date",
            "status",
            "model_version",
            "rows_published",
            "rows_rejected",
            "slices",
            "started_at",
            "published_at",
            "error",
        )
        documents = [{name: getattr(run, name) for name in names} for run in found]
        if json:
            output.emit({"runs": documents})
        else:
            shown = ("run_id", "date", "status", "model_version", "rows_published", "started_at", "error")
            rows = [[_first_line(document[name]) for name in shown] for document in documents]
            output.table(shown, rows)


@config_app.command("show")
def config_show(
    pipeline: Annotated[
        str | None, typer.Argument(metavar="PIPELINE", help="Without one, the pipelines are listed.")
    ] = None,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Show every value of a pipeline's configuration and where it was set.

    Example: raypipe config show churn --set model.rounds=100
    """
    with output.reported(debug):
        if pipeline is None:
            names = list_pipelines(config)
            if json:
                output.emit({"pipelines": names})
            else:
                output.table(("pipeline",), [(name,) for name in names])
            return
        leaves = show(load_pipeline(pipeline, config, overrides or (), url=url))
        if json:
            output.emit({path: {"value": value, "source": source} for path, value, source in leaves})
        else:
            output.table(("key", "value", "from"), [(path, repr(value), source) for path, value, source in leaves])


@config_app.command("schema")
def config_schema(json: Json = False, debug: Debug = False) -> None:
    """Print the JSON Schema of a pipeline's YAML, for an editor; it is JSON with --json and without.

    Example: raypipe config schema > configs/schema.json
    """
    with output.reported(debug):
        output.emit(json_schema())


def _first_line(value: object) -> object:
    return value.splitlines()[0][:80] if isinstance(value, str) and value else value
