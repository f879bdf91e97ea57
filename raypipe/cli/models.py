"""The commands that change which model versions count and are kept: promote, rollback, prune."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from raypipe.cli import output, versions
from raypipe.cli.options import (
    ChangedContract,
    Config,
    Debug,
    Json,
    Only,
    Pipeline,
    Set,
    TakeOver,
    Url,
    Version,
    client_of,
    endpoint_of,
    pipeline_of,
    require_pipeline,
)
from raypipe.config.load import load_shared
from raypipe.errors import UsageError
from raypipe.registry import models as registry

if TYPE_CHECKING:
    from raypipe.versions.pruning import Pruned
    from raypipe.versions.rollback import RolledBack

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
models_app.registered_commands += versions.app.registered_commands
app.add_typer(models_app, name="models")


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
    changed_contract: ChangedContract = False,
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
            from raypipe.versions import promotion

            done = promotion.promote(
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
            from raypipe.artifact import imports
            from raypipe.versions.rollback import rollback as roll_back

            imports.arrow_without_pandas()
            started = time.perf_counter()
            done = roll_back(
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
            from raypipe.versions import pruning

            done = pruning.prune(endpoint, shared.artifacts, known, keep, orphans=orphans, dry_run=dry_run)
        _show_pruned(done, orphans=orphans, dry_run=dry_run, json=json)


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


def _who(command: str) -> str:
    """Who decided, for the history."""
    try:
        return f"raypipe {command} by {getpass.getuser()}"
    except (KeyError, OSError):
        # A container's user may have no name.
        return f"raypipe {command}"
