"""Define `raypipe alerts`, and the JSON of a night's alerts."""

from __future__ import annotations

from typing import Any

import typer

from raypipe.alerts import alerts as reviews
from raypipe.alerts import records
from raypipe.alerts.alerts import Review
from raypipe.alerts.rules import Alert
from raypipe.cli import failures, output
from raypipe.cli.options import Limit, Only, Options, command
from raypipe.config.load import load_shared
from raypipe.errors import UsageError

SHOWN = ("status", "severity", "rule", "pipeline", "first", "last", "reason")


@command()
def alerts(
    options: Options,
    pipeline: Only = None,
    limit: Limit = 50,
    test: bool = typer.Option(False, "--test", help="Send a test message to each receiver of base.yaml instead."),
) -> None:
    """List open and past alerts, or send a test message.

    `raypipe nightly` opens alerts by the rules of the section `alerts`, resolves them when they end, and sends both to
    the receivers. The exit code of --test is 1 when a receiver did not take the message.

    Example: raypipe alerts churn
    """
    if test:
        _test(options)
        return
    with options.client() as client:
        listed = records.listed(client, pipeline, limit)
    if not listed:
        options.require_pipeline(pipeline)
    documents = [entry(alert) for alert in listed]
    rows = [[shown[name] for name in SHOWN] for shown in documents]
    options.show({"alerts": documents}, _print, rows)


def _print(rows: list[list[object]]) -> None:
    if rows:
        output.table(SHOWN, rows)
    else:
        output.say("no alert has opened")


def _test(options: Options) -> None:
    results = reviews.test(load_shared(options.config, options.url))
    if not results:
        raise UsageError(
            "The configuration names no receiver of alerts",
            found="alerts.receivers is empty",
            next_step="add one to base.yaml, such as oncall: {form: slack, url_variable: SLACK_WEBHOOK}",
        )
    documents = [{"receiver": name, "took": not reason, "reason": reason} for name, reason in results.items()]
    rows = [tuple(document.values()) for document in documents]
    options.show({"receivers": documents}, output.table, ("receiver", "took the message", ""), rows)
    if any(results.values()):
        raise typer.Exit(failures.FAILED)


def entry(alert: Alert) -> dict[str, Any]:
    """Return the JSON of an alert."""
    return {
        "alert_id": alert.alert_id,
        "status": alert.status,
        "severity": alert.severity,
        "rule": alert.rule,
        **vars(alert.place),
        "value": alert.value,
        "reason": alert.message,
        "first": alert.dates[0],
        "last": alert.dates[-1],
        "opened_at": alert.opened_at,
        "resolved_at": alert.resolved_at,
        "sent": dict(alert.sent),
    }


def document(reviewed: Review) -> dict[str, Any]:
    """Return the JSON of a night's alerts."""
    opened = {alert.alert_id for alert in reviewed.opened}
    return {
        "open": [{**entry(alert), "is_new": alert.alert_id in opened} for alert in reviewed.open],
        "resolved": [entry(alert) for alert in reviewed.resolved],
        "warnings": list(reviewed.warnings),
    }
