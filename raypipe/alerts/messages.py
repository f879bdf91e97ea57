"""Write alerts as text, for Slack and for receivers of Alertmanager."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from raypipe.alerts.rules import Alert

MOST_ALERTS = 500
MOST_LINES = 20
# Alertmanager's own text for an alert without an end.
NO_END = "0001-01-01T00:00:00Z"


def lines(alerts: Sequence[Alert]) -> list[str]:
    """Return a line for each rule and pipeline with its alerts, the open ones first."""
    groups = defaultdict[tuple[str, str, str], list[Alert]](list)
    for alert in sorted(alerts, key=lambda alert: (alert.status, alert.severity)):
        groups[alert.status, alert.rule, alert.place.pipeline].append(alert)
    return [_line(group) for group in groups.values()]


def _line(group: Sequence[Alert]) -> str:
    """Return the message of the largest value, and the names of the other places."""
    first, *others = sorted(group, key=lambda alert: -alert.value)
    mark = "resolved" if first.status == "resolved" else first.severity
    names = [str(alert.place).partition(": ")[2] for alert in others[:5]]
    more = f"; also {', '.join(names)}" if names else ""
    rest = f" and {len(others) - 5} more" if len(others) > 5 else ""
    return f"{mark}: {first.message}{more}{rest}"


def slack(alerts: Sequence[Alert]) -> dict[str, Any]:
    """Return the body for an incoming webhook of Slack."""
    written = lines(alerts)
    cut = [f"and {len(written) - MOST_LINES} more: `raypipe alerts`"] if len(written) > MOST_LINES else []
    # Slack's three control characters; names come out of the publisher's data.
    text = "\n".join(["*raypipe*", *written[:MOST_LINES], *cut])
    return {"text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")}


def alertmanager(alerts: Sequence[Alert], receiver: str) -> dict[str, Any]:
    """Return the body that Alertmanager sends to its webhooks, version 4."""
    shown = [_entry(alert) for alert in alerts[:MOST_ALERTS]]
    firing = any(entry["status"] == "firing" for entry in shown)
    return {
        "version": "4",
        "groupKey": "{}:{}",
        "truncatedAlerts": max(len(alerts) - MOST_ALERTS, 0),
        "status": "firing" if firing else "resolved",
        "receiver": receiver,
        "groupLabels": {},
        "commonLabels": _common([entry["labels"] for entry in shown]),
        "commonAnnotations": _common([entry["annotations"] for entry in shown]),
        "externalURL": "",
        "alerts": shown,
    }


def _entry(alert: Alert) -> dict[str, Any]:
    place = alert.place
    optional = {"feature": place.subject, place.slice_column: place.slice_value}
    return {
        "status": "firing" if alert.status == "open" else "resolved",
        "labels": {
            "alertname": alert.rule,
            "pipeline": place.pipeline,
            "metric": place.metric,
            "severity": alert.severity,
            **{name: value for name, value in optional.items() if name and value},
        },
        "annotations": {"summary": alert.message},
        "startsAt": _time(alert.opened_at),
        "endsAt": _time(alert.resolved_at),
        "generatorURL": "",
        "fingerprint": alert.alert_id.replace("-", "")[:16],
    }


def _common(documents: Sequence[Mapping[str, str]]) -> dict[str, str]:
    first, *others = documents
    return {name: text for name, text in first.items() if all(other.get(name) == text for other in others)}


def _time(moment: datetime | None) -> str:
    return NO_END if moment is None else moment.isoformat().replace("+00:00", "Z")
