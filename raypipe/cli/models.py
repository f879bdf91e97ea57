"""Define `raypipe models`: the list of versions, and the group of the commands on versions."""

from typing import Any

import typer
from typer.core import TyperGroup

from raypipe.cli import output
from raypipe.cli.export import export
from raypipe.cli.history import history
from raypipe.cli.options import Limit, Only, Options, command
from raypipe.cli.promote import promote
from raypipe.cli.prune import prune
from raypipe.clickhouse.client import Client
from raypipe.registry import aliases
from raypipe.registry import models as registry
from raypipe.registry.record import Registered


class ListByDefault(TyperGroup):
    """The group `models`, in which `raypipe models churn` means `raypipe models list churn`."""

    def with_command(self, args: list[str]) -> list[str]:
        """Return the arguments, with `list` in front where they name no command of the group."""
        return args if args[:1] in ([name] for name in (*self.commands, "--help")) else ["list", *args]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, self.with_command(args))


models = typer.Typer(
    cls=ListByDefault,
    help="List, promote, prune and export model versions.\n\nWithout a command it lists the versions.",
)
for part in (history, promote, prune, export):
    models.command()(part)


@models.command("list")
@command()
def list_versions(options: Options, pipeline: Only = None, limit: Limit = 20) -> None:
    """List the registered model versions, newest first.

    `raypipe models` alone does the same. The version in PRODUCTION is the champion, which `raypipe score` takes unless
    --model names another.

    Example: raypipe models list churn --limit 5
    """
    with options.client() as client:
        versions = registry.list_models(client, pipeline)[:limit]
        names = _aliases(client, {version.pipeline for version in versions})
    if not versions:
        options.require_pipeline(pipeline)
    documents = [_document(version, names.get((version.pipeline, version.version), [])) for version in versions]
    rows = [
        (
            *(version.pipeline, version.version, _status(version), ", ".join(document["aliases"]), _auc(version)),
            *("pruned" if version.pruned_at else version.artifact_sha256[:12], version.created_at),
        )
        for version, document in zip(versions, documents, strict=True)
    ]
    columns = ("pipeline", "version", "status", "alias", "test auc", "artifact", "registered")
    options.show({"models": documents}, output.table, columns, rows)


def _document(version: Registered, names: list[str]) -> dict[str, Any]:
    known = dict(vars(version))
    return {"pipeline": known.pop("pipeline"), "model_version": known.pop("version"), **known, "aliases": names}


def _status(version: Registered) -> str:
    return f"{version.status}, provisional" if version.is_provisional else version.status


def _aliases(client: Client, pipelines: set[str]) -> dict[tuple[str, str], list[str]]:
    """Return the aliases of each version, by pipeline and version."""
    names: dict[tuple[str, str], list[str]] = {}
    for pipeline in sorted(pipelines):
        for alias, assigned in aliases.named(client, pipeline).items():
            names.setdefault((pipeline, assigned.version), []).append(alias)
    return names


def _auc(version: Registered) -> str:
    test = version.evaluation.get("test", {})
    value = test.get("auc", {}).get("value") if isinstance(test, dict) else None
    return f"{value:.4f}" if isinstance(value, float) else ""
