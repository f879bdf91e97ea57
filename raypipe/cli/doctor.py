"""Define `raypipe doctor`."""

from datetime import UTC, datetime

import typer

from raypipe import doctor as examination
from raypipe.cli import failures, output
from raypipe.cli.options import Options, command, needed_tables
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import EMBEDDED
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.tables import describe
from raypipe.config.load import load_shared
from raypipe.config.shared import CLICKHOUSE

_SHOWN = {"ok": "ok", "warning": "warning", "problem": "PROBLEM"}


@command()
def doctor(
    options: Options,
    clean: bool = typer.Option(False, "--clean", help="Drop the tables and rows that dead runs left behind."),
) -> None:
    """Check whether a run would work; exit 1 when it would fail.

    It checks the connection, version, grants, tables, leftovers, artifacts, the rows of the last runs, Ray, memory and
    disk. It changes nothing, except that --clean drops what dead runs left behind.

    Example: raypipe doctor --url https://scoring@clickhouse.example:8443/analytics
    """
    embedded = load_shared(options.config, options.url).connection.url.startswith(EMBEDDED)
    with options.endpoint(check=False) as endpoint:
        dropped = _clean(endpoint) if clean else ()
        checks = examination.examine(
            endpoint,
            needed_tables(options),
            embedded=embedded,
            more={"artifacts": _artifacts, "published rows": _published, "last runs": _last_runs},
        )
    rows = [(check.name, _SHOWN[check.status], check.detail, check.next_step) for check in checks]
    document = {"checks": [vars(check) for check in checks], "dropped": dropped}
    title = f"dropped: {', '.join(dropped) or 'nothing'}" if clean else None
    options.show(document, output.table, ("check", "", "found", "next"), rows, title)
    if any(check.status == "problem" for check in checks):
        raise typer.Exit(failures.FAILED)


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
