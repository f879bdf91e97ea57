"""Read and write the table raypipe_alerts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from raypipe.alerts.reading import Place
from raypipe.alerts.rules import Alert
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import load
from raypipe.project import shipped

TABLE = "raypipe_alerts"
# A receiver that did not answer hears of the end of an alert for as long.
KEPT = timedelta(days=7)


def standing(client: Client, now: datetime) -> list[Alert]:
    """Return the alerts that are pending or open, and those that were resolved lately."""
    return _read(client, "standing", {"since": now - KEPT})


def listed(client: Client, pipeline: str | None, limit: int) -> list[Alert]:
    """Return the alerts that have opened, the open ones first, then the latest."""
    return _read(client, "listed", {"pipeline": pipeline or "", "limit": limit})


def _read(client: Client, name: str, parameters: Parameters) -> list[Alert]:
    rows = client.rows(load(shipped() / "sql" / "alerts" / f"{name}.sql").text, parameters)
    return [_alert(*row) for row in rows]


def _alert(alert_id: str, rule: str, *row: Any) -> Alert:
    *place, severity, status, value, message, dates, opened_at, resolved_at, sent = row
    return Alert(
        alert_id,
        rule,
        Place(*place),
        severity,
        status,
        value,
        message,
        tuple(dates),
        # The columns are not Nullable: 1970 stands for no time.
        opened_at if opened_at.year > 1970 else None,
        resolved_at if resolved_at.year > 1970 else None,
        json.loads(sent) if sent else {},
    )


def write(client: Client, alerts: Sequence[Alert], now: datetime) -> None:
    """Write the present state of alerts."""
    if not alerts:
        return
    epoch = datetime.fromtimestamp(0, now.tzinfo)
    rows = [
        {
            "alert_id": alert.alert_id,
            "rule": alert.rule,
            **vars(alert.place),
            "severity": alert.severity,
            "status": alert.status,
            "value": alert.value,
            "message": alert.message,
            "dates": list(alert.dates),
            "opened_at": alert.opened_at or epoch,
            "resolved_at": alert.resolved_at or epoch,
            "sent": json.dumps(dict(alert.sent)),
            "updated_at": now,
        }
        for alert in alerts
    ]
    client.insert_rows(TABLE, rows)
