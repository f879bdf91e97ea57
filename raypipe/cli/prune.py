"""Define `raypipe models prune`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from raypipe.cli import output
from raypipe.cli.options import Only, Options, command
from raypipe.clickhouse.client import Client
from raypipe.config.load import load_shared
from raypipe.registry import models

if TYPE_CHECKING:
    from raypipe.versions.pruning import Pruned


@command()
def prune(
    options: Options,
    pipeline: Only = None,
    keep: int = typer.Option(10, min=1, metavar="N", help="Keep at least the newest N versions of each pipeline."),
    dry_run: bool = typer.Option(False, "--dry-run", help="Show what would be removed; remove nothing."),
    orphans: bool = typer.Option(False, "--orphans", help="Also remove artifacts that no version here owns."),
) -> None:
    """Remove the artifacts of old versions.

    An artifact stays while an alias names its version, or a run that is not superseded does. The registry keeps the
    versions and notes that their artifacts are gone. --orphans is wrong where other databases share the folder.

    Example: raypipe models prune churn --keep 5 --dry-run
    """
    artifacts = load_shared(options.config, options.url).artifacts
    with options.endpoint() as endpoint:
        with Client(endpoint) as client:
            pipelines = sorted({version.pipeline for version in models.list_models(client, pipeline)})
        if not pipelines:
            options.require_pipeline(pipeline)
        from raypipe.versions import pruning

        pruned = pruning.prune(endpoint, artifacts, pipelines, keep, orphans=orphans, dry_run=dry_run)
    document = {
        "versions": [{"pipeline": version.pipeline, "model_version": version.version} for version in pruned.versions],
        "removed": [
            {"artifact_sha256": stored.name, "uri": stored.uri, "bytes": stored.bytes} for stored in pruned.removed
        ],
        "orphans": [vars(orphan) for orphan in pruned.orphans],
        "orphans_removed": orphans and not dry_run,
        "skipped": pruned.skipped,
        "bytes": pruned.bytes,
        "dry_run": dry_run,
    }
    options.show(document, _print, pruned, orphans, dry_run)


def _print(pruned: Pruned, orphans: bool, dry_run: bool) -> None:
    rows: list[tuple[object, ...]] = [
        ("version", f"{version.pipeline} {version.version}", "") for version in pruned.versions
    ]
    rows += [("artifact", stored.name[:12], stored.bytes) for stored in pruned.removed]
    rows += [("orphan" if orphans else "orphan, stays", orphan.uri, orphan.bytes) for orphan in pruned.orphans]
    output.table(("kind", "name", "bytes"), rows)
    for pipeline in pruned.skipped:
        output.say(f"{pipeline} was skipped: another process works on it")
    output.say(f"{pruned.bytes:,} bytes {'would be freed' if dry_run else 'freed'}")
