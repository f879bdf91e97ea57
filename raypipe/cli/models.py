"""The commands on model versions: list, history, promote, rollback, prune, export."""

from __future__ import annotations

import getpass
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from raypipe.cli import output
from raypipe.cli.listing import Limit, Only, require_pipeline
from raypipe.cli.options import Config, Debug, Json, Pipeline, Set, TakeOver, Url, client_of, endpoint_of, pipeline_of
from raypipe.clickhouse.client import Client
from raypipe.config.load import load_shared
from raypipe.errors import UsageError
from raypipe.registry import aliases
from raypipe.registry import models as registry

if TYPE_CHECKING:
    from raypipe.lifecycle import RolledBack
    from raypipe.pruning import Pruned

app = typer.Typer()


class _ListByDefault(TyperGroup):
    """`raypipe models churn` lists, as `raypipe models list churn` does."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args[:1] not in ([name] for name in (*self.commands, "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


models_app = typer.Typer(
    cls=_ListByDefault,
    help="List the model versions, see what was champion when, promote one, prune artifacts, export. Alone it lists.",
)
app.add_typer(models_app, name="models")

Version = Annotated[
    str,
    typer.Argument(metavar="VERSION", help="A version, an alias such as challenger, or latest, as `models` lists it."),
]


@models_app.command("list")
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


@models_app.command()
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


@models_app.command()
def promote(
    pipeline: Pipeline,
    version: Version,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for the history; needed unless --if-better.")
    ] = "",
    if_better: Annotated[
        bool,
        typer.Option("--if-better", help="Only when it beats the champion on the same test rows by more than noise."),
    ] = False,
    changed_contract: Annotated[
        bool, typer.Option("--changed-contract", help="It may read other columns than the champion.")
    ] = False,
    take_over: TakeOver = False,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make a registered version the champion; the one before becomes `previous`.

    By hand with a reason, or by evidence with --if-better: both versions score the newest test rows, and code 3 says
    that the difference may be noise. What is published stays; `raypipe score` publishes the new champion's predictions.

    Example: raypipe models promote churn 20260131.031502.4f0c1a --reason "calibrated for the new tier"
    """
    with output.reported(debug):
        if not reason.strip() and not if_better:
            raise UsageError(
                "A promotion needs a reason",
                allowed="--reason with the words for the history, or --if-better for a comparison on the same rows",
                next_step=f'`raypipe models promote {pipeline} {version} --reason "…"`',
            )
        with pipeline_of(pipeline, config, url, overrides) as (endpoint, loaded):
            from raypipe import lifecycle

            done = lifecycle.promote(
                endpoint,
                loaded,
                version,
                reason=reason.strip(),
                set_by=_who("promote"),
                if_better=if_better,
                changed_contract=changed_contract,
                take_over=take_over,
            )
        if json:
            output.emit(
                {
                    "pipeline": pipeline,
                    "model_version": done.version.version,
                    "status": done.version.status,
                    "previous": done.previous,
                    "reason": done.reason,
                    "decision": done.decision.to_json() if done.decision else None,
                }
            )
        else:
            output.say(
                f"{done.version.version} is the champion of {pipeline}, after {done.previous or 'none'}: {done.reason}"
            )
            output.say(f"next: raypipe score {pipeline}, or raypipe rollback {pipeline}")


@app.command()
def rollback(
    pipeline: Pipeline,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the history.")] = "rolled back",
    alias_only: Annotated[
        bool, typer.Option("--alias-only", help="Leave the published predictions as they are.")
    ] = False,
    take_over: TakeOver = False,
    config: Config = None,
    url: Url = None,
    overrides: Set = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Make the previous version champion again, and put back the predictions that it had published.

    The newest published date, and every date on which the champion replaced the previous version's predictions, are
    scored and published with the previous version, as by any run. The aliases move last: until then the champion stays,
    and a rollback that was interrupted is repeated.

    Example: raypipe rollback churn --reason "scores of new readers are too high"
    """
    with output.reported(debug, f"repeat it while `raypipe models {pipeline}` still names the champion of before"):
        with pipeline_of(pipeline, config, url, overrides) as (endpoint, loaded), output.progress() as progress:
            from raypipe import imports, lifecycle

            imports.arrow_without_pandas()
            started = time.perf_counter()
            done = lifecycle.rollback(
                endpoint,
                loaded,
                progress,
                reason=reason,
                set_by=_who("rollback"),
                predictions=not alias_only,
                take_over=take_over,
            )
        _show_rollback(pipeline, done, time.perf_counter() - started, json)


@models_app.command()
def prune(
    pipeline: Only = None,
    keep: Annotated[
        int, typer.Option("--keep", min=1, metavar="N", help="The newest N versions of each pipeline stay in any case.")
    ] = 10,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    orphans: Annotated[
        bool,
        typer.Option(
            "--orphans",
            help="Remove what belongs to no version of this database too; other databases may share the folder.",
        ),
    ] = False,
    config: Config = None,
    url: Url = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Remove the artifacts of old versions; what an alias or a run that is not superseded names stays.

    The registry keeps the versions and says that their artifacts are gone.

    Example: raypipe models prune churn --keep 5 --dry-run
    """
    with output.reported(debug):
        with client_of(config, url) as client:
            known = sorted({model.pipeline for model in registry.list_models(client, pipeline)})
        if not known:
            require_pipeline(pipeline, config)
        shared = load_shared(config, url)
        with endpoint_of(shared.connection) as endpoint:
            from raypipe import pruning

            done = pruning.prune(endpoint, shared.artifacts, known, keep, orphans=orphans, dry_run=dry_run)
        _show_pruned(done, orphans=orphans, dry_run=dry_run, json=json)


@models_app.command()
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
        from raypipe.registry import mlflow_export

        done = mlflow_export.export(client, registry.find(client, pipeline, version), to)
        if json:
            output.emit(vars(done))
        else:
            verb = "exported as" if done.created else "was there already as"
            names = f", {', '.join(done.aliases)}" if done.aliases else ""
            output.say(f"{pipeline} {version} {verb} models:/{done.name}/{done.version}{names}")


def _show_rollback(pipeline: str, done: RolledBack, seconds: float, json: bool) -> None:
    days = [vars(day) for day in done.days]
    if json:
        output.emit(
            {
                "pipeline": pipeline,
                "model_version": done.version.version,
                "outgoing": done.outgoing,
                "reason": done.reason,
                "days": days,
                "seconds": round(seconds, 3),
            }
        )
        return
    if days:
        output.table(tuple(name.replace("_", " ") for name in days[0]), [list(day.values()) for day in days])
    else:
        output.say("no published predictions to put back")
    output.say(f"{done.version.version} is the champion of {pipeline} again, instead of {done.outgoing}")


def _show_pruned(done: Pruned, *, orphans: bool, dry_run: bool, json: bool) -> None:
    if json:
        output.emit(
            {
                "versions": [{"pipeline": one.pipeline, "model_version": one.version} for one in done.versions],
                "removed": [vars(one) for one in done.removed],
                "orphans": [vars(one) for one in done.orphans],
                "orphans_removed": orphans and not dry_run,
                "skipped": done.skipped,
                "bytes": done.bytes,
                "dry_run": dry_run,
            }
        )
        return
    rows: list[tuple[object, ...]] = [("version", f"{one.pipeline} {one.version}", "") for one in done.versions]
    rows += [("artifact", one.sha256[:12], one.bytes) for one in done.removed]
    rows += [("orphan" if orphans else "orphan, stays", one.uri, one.size) for one in done.orphans]
    output.table(("what", "which", "bytes"), rows)
    for pipeline in done.skipped:
        output.say(f"{pipeline} was left alone: somebody works on it")
    output.say(f"{done.bytes:,} bytes {'would be freed' if dry_run else 'freed'}")


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


def _who(command: str) -> str:
    """Who decided, for the history."""
    try:
        return f"raypipe {command} by {getpass.getuser()}"
    except (KeyError, OSError):
        # A container's user may have no name.
        return f"raypipe {command}"


def _auc(model: registry.Registered) -> str:
    test = model.evaluation.get("test", {})
    value = test.get("auc", {}).get("value") if isinstance(test, dict) else None
    return f"{value:.4f}" if isinstance(value, float) else ""
