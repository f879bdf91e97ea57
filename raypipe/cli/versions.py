"""The commands that look at model versions: list, history, export."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from raypipe.cli import output
from raypipe.cli.options import (
    Config,
    Debug,
    Json,
    Limit,
    Only,
    Pipeline,
    Url,
    Version,
    client_of,
    require_pipeline,
)
from raypipe.clickhouse.client import Client
from raypipe.errors import UsageError
from raypipe.registry import aliases
from raypipe.registry import models as registry
from raypipe.registry.record import Registered

app = typer.Typer()


@app.command("list")
def list_versions(
    pipeline: Only = None,
    limit: Limit = 20,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """List the registered model versions, newest first; `raypipe models` alone does the same.

    The one in PRODUCTION is the champion, which `raypipe score` takes when --model names no other.

    Example: raypipe models list churn --limit 5
    """
    with output.reported(debug), client_of(config, url) as client:
        found = registry.list_models(client, pipeline)[:limit]
        if not found:
            require_pipeline(pipeline, config)
        named = _named(client, {model.pipeline for model in found})
        if json:
            documents = [{**vars(one), "aliases": named.get((one.pipeline, one.version), [])} for one in found]
            output.emit({"models": documents})
        else:
            rows = [
                (
                    *(one.pipeline, one.version, one.status, ", ".join(named.get((one.pipeline, one.version), []))),
                    *(_auc(one), "pruned" if one.pruned_at else one.artifact_sha256[:12], one.created_at),
                )
                for one in found
            ]
            output.table(("pipeline", "version", "status", "alias", "test auc", "artifact", "registered"), rows)


@app.command()
def history(
    pipeline: Pipeline,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="TIME", help="Only what counted then: 2026-01-31T04:00, in UTC unless it has a zone."
        ),
    ] = None,
    alias: Annotated[
        str, typer.Option("--alias", metavar="NAME", help="Only of this alias: champion, challenger or previous.")
    ] = "",
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say which version an alias named, from when to when, who set it and why; newest first.

    The history is only ever added to.

    Example: raypipe models history churn --alias champion --at 2026-01-31T04:00
    """
    with output.reported(debug):
        moment = _parse_time(at) if at is not None else None
        with client_of(config, url) as client:
            found = aliases.history(client, pipeline, alias, moment)
            if not found:
                require_pipeline(pipeline, config)
        periods = [one for one in found if at is None or one.assignment.version]
        documents = [
            {
                "alias": one.assignment.alias,
                "model_version": one.assignment.version,
                "model_id": one.assignment.model_id,
                "since": one.assignment.set_at,
                "until": one.until,
                "set_by": one.assignment.set_by,
                "reason": one.assignment.reason,
            }
            for one in periods
        ]
        if json:
            output.emit({"pipeline": pipeline, "at": moment, "history": documents})
        else:
            columns = ("alias", "model_version", "since", "until", "set_by", "reason")
            # Two changes may fall into one second, and what is shown can be given to --at.
            rows = [[_exact(document[name]) for name in columns] for document in documents]
            output.table(("alias", "version", "since", "until", "set by", "reason"), rows)


@app.command()
def export(
    pipeline: Pipeline,
    version: Version,
    to: Annotated[
        str,
        typer.Option("--to", metavar="URI", help="MLflow's tracking URI: http(s)://host:5000, or sqlite:///mlflow.db."),
    ],
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Bring a version to MLflow: a run with its parameters, metrics and files, and a version of a registered model.

    Needs the extra `mlflow`. A second export of a version only moves its aliases along.

    Example: raypipe models export churn champion --to http://mlflow.example:5000
    """
    with output.reported(debug), client_of(config, url) as client:
        from raypipe.versions import mlflow_export

        done = mlflow_export.export(client, registry.find(client, pipeline, version), to)
        if json:
            output.emit(vars(done))
        else:
            verb = "exported as" if done.created else "was there already as"
            names = f", {', '.join(done.aliases)}" if done.aliases else ""
            output.say(f"{pipeline} {version} {verb} models:/{done.name}/{done.version}{names}")


def _named(client: Client, pipelines: set[str]) -> dict[tuple[str, str], list[str]]:
    """The aliases of each version, by pipeline and version."""
    named: dict[tuple[str, str], list[str]] = {}
    for pipeline in sorted(pipelines):
        for alias, one in aliases.named(client, pipeline).items():
            named.setdefault((pipeline, one.version), []).append(alias)
    return named


def _exact(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value


def _parse_time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            "--at is not a time", found=text, allowed="2026-01-31, 2026-01-31T04:00 or 2026-01-31T04:00:00+01:00"
        ) from error


def _auc(model: Registered) -> str:
    test = model.evaluation.get("test", {})
    value = test.get("auc", {}).get("value") if isinstance(test, dict) else None
    return f"{value:.4f}" if isinstance(value, float) else ""
