"""Define `raypipe doctor`."""

from collections.abc import Collection
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial

import typer

from raypipe import doctor as examination
from raypipe.cli import failures, output
from raypipe.cli.options import Options, command, needed_tables
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import EMBEDDED
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.tables import describe
from raypipe.config.load import list_pipelines, load_shared
from raypipe.config.shared import CLICKHOUSE
from raypipe.errors import RaypipeError

_SHOWN = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@command()
def doctor(
    options: Options,
    clean: bool = typer.Option(False, "--clean", help="Drop the tables and rows that dead runs left behind."),
) -> None:
    """Check whether a run would work; exit 1 when it would fail.

    It checks the connection, version, grants, tables, leftovers, features, artifacts, the rows of the last runs, Ray,
    memory and disk. It changes nothing, except that --clean drops what dead runs left behind.

    Example: raypipe doctor --url https://scoring@clickhouse.example:8443/analytics
    """
    embedded = load_shared(options.config, options.url).connection.url.startswith(EMBEDDED)
    with options.endpoint(check=False) as endpoint:
        dropped = _clean(endpoint) if clean else ()
        checks = examination.examine(
            endpoint,
            needed_tables(options),
            embedded=embedded,
            more={
                "features": partial(_features, options),
                "artifacts": _artifacts,
                "published rows": _published,
                "last runs": _last_runs,
            },
        )
    rows = [(check.name, _SHOWN[check.status], check.detail, check.next_step) for check in checks]
    document = {"checks": [vars(check) for check in checks], "dropped": dropped}
    title = f"dropped: {', '.join(dropped) or 'nothing'}" if clean else None
    options.show(document, output.table, ("check", "", "found", "next"), rows, title)
    if any(check.status == "problem" for check in checks):
        raise typer.Exit(failures.FAILED)


def _features(options: Options, client: Client) -> examination.Check:
    """Look for empty ml_features in the snapshots that a fit of each pipeline would read now."""
    from raypipe.features import gaps

    readers, columns = _fits(options, client, gaps.columns())
    empty = gaps.empty_days(client, readers)
    if not empty:
        return examination.Check("features", "ok", f"{len(readers)} snapshots that fits read have their ml_features")
    first, last = empty[0].date, empty[-1].date
    pipelines = sorted(set().union(*(readers[day.date] for day in empty)))
    detail = (
        f"ml_features are empty in {sum(day.empty for day in empty):,} rows of"
        f" {', '.join(str(day.date) for day in empty)}, which fits of {', '.join(pipelines)} read:"
        f" no value there for {', '.join(sorted(columns))}"
    )
    fill = f"raypipe features --date {last} --backfill {(last - first).days + 1}"
    return examination.Check("features", "warning", detail, fill)


def _fits(options: Options, client: Client, known: Collection[str]) -> tuple[dict[date, set[str]], set[str]]:
    """Return the pipelines that would fit on each snapshot, and their features among the known columns."""
    from raypipe.features.sources import USER_FEATURES
    from raypipe.fit.recipe import recipe_of

    readers: dict[date, set[str]] = {}
    columns: set[str] = set()
    if describe(client, USER_FEATURES) is None:
        return readers, columns
    for name in list_pipelines(options.config):
        loaded = options.load(name)
        used = {feature.name for feature in loaded.config.used_features}.intersection(known)
        if used and loaded.config.source.table == USER_FEATURES:
            # With too few snapshots, the fit says so itself.
            with suppress(RaypipeError):
                for snapshot in recipe_of(client, loaded, None).snapshots:
                    readers.setdefault(snapshot.date, set()).add(name)
                columns |= used
    return readers, columns


def _artifacts(client: Client) -> examination.Check:
    from raypipe.versions import retention

    if describe(client, "raypipe_artifacts") is None or describe(client, "ml_model_registry") is None:
        return examination.Check("artifacts", "ok", "none yet")
    lost = ", ".join(f"{model.pipeline} {model.version}" for model in retention.lost(client))
    if lost:
        advice = "restore raypipe_artifacts, or fit new versions"
        return examination.Check("artifacts", "problem", f"not in raypipe_artifacts: those of {lost}", advice)
    strays = retention.orphans(client, CLICKHOUSE, datetime.now(UTC))
    if not strays:
        return examination.Check("artifacts", "ok", "raypipe_artifacts holds those of registered versions")
    detail = f"{len(strays)} of no version, {retention.size(strays):,} bytes: fits that ended before they registered"
    return examination.Check("artifacts", "warning", detail, "raypipe doctor --clean")


def _published(client: Client) -> examination.Check:
    from raypipe.score import strays

    findings = strays.find(client) if describe(client, "raypipe_runs") else []
    if not findings:
        return examination.Check("published rows", "ok", "the targets hold what the ledger says")
    detail = "; ".join(map(str, findings))
    lost = [finding.run for finding in findings if not finding.is_stray]
    if lost:
        again = ", ".join(sorted({f"`raypipe run {run.pipeline} --date {run.date}`" for run in lost}))
        return examination.Check("published rows", "problem", detail, again)
    return examination.Check("published rows", "warning", detail, "raypipe doctor --clean")


def _last_runs(client: Client) -> examination.Check:
    from raypipe.proof import last_runs

    committed = last_runs.committed(client) if describe(client, "raypipe_runs") else []
    wrong = last_runs.wrong(client, committed)
    if not wrong:
        detail = f"the views show the {len(committed)} committed runs of the last {last_runs.DATES} dates"
        return examination.Check("last runs", "ok", detail if committed else "none yet")
    detail = "; ".join(f"{run_id}: {', '.join(sentences)}" for run_id, sentences in wrong.items())
    return examination.Check(
        "last runs", "problem", detail, ", ".join(f"`raypipe verify {run_id}`" for run_id in wrong)
    )


def _clean(endpoint: Endpoint) -> tuple[str, ...]:
    from raypipe.score import strays
    from raypipe.score.run import retire_superseded

    with Client(endpoint) as client:
        dropped = (*examination.clean(client), *_clean_artifacts(client))
        if describe(client, "raypipe_runs") is None:
            return dropped
        retired = [f"rows of {run_id}" for run_id in retire_superseded(client)]
        removed = strays.remove(client, strays.find(client))
        return (*dropped, *retired, *(f"{item.rows} rows of {item.run.run_id} in {item.table}" for item in removed))


def _clean_artifacts(client: Client) -> list[str]:
    from raypipe.artifact import stores
    from raypipe.versions import retention

    if describe(client, "raypipe_artifacts") is None or describe(client, "ml_model_registry") is None:
        return []
    doomed = retention.orphans(client, CLICKHOUSE, datetime.now(UTC))
    stores.delete(doomed, client)
    return [f"artifact {stored.name[:12]}" for stored in doomed]
