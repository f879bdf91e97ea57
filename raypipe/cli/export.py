"""Define `raypipe models export`."""

import typer

from raypipe.cli import output
from raypipe.cli.options import Options, Pipeline, Version, command
from raypipe.registry import models


@command()
def export(
    options: Options,
    pipeline: Pipeline,
    version: Version,
    to: str = typer.Option(metavar="URI", help="MLflow's tracking URI: http(s)://host:5000, or sqlite:///mlflow.db."),
) -> None:
    """Export a version to MLflow.

    MLflow gets a run with the fit's parameters, metrics and files, and a version of a registered model. A second export
    of a version only moves its aliases. Needs the extra `mlflow`.

    Example: raypipe models export churn champion --to http://mlflow.example:5000
    """
    with options.client() as client:
        from raypipe.versions import mlflow_export

        exported = models.find(client, pipeline, version)
        result = mlflow_export.export(client, exported, to)
    mlflow = {"name": result.name, "version": result.version, "run_id": result.run_id}
    document = {"pipeline": pipeline, "model_version": exported.version, "mlflow": mlflow}
    verb = "exported as" if result.created else "was exported before as"
    names = f", {', '.join(result.aliases)}" if result.aliases else ""
    text = f"{pipeline} {exported.version} {verb} models:/{result.name}/{result.version}{names}"
    options.show({**document, "aliases": result.aliases, "created": result.created}, output.say, text)
