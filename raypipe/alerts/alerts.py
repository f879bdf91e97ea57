"""Review a night: judge the rules, store the alerts, and send those that receivers have not got yet."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from raypipe.alerts import records
from raypipe.alerts.measured import measured
from raypipe.alerts.reading import Outcome, Place
from raypipe.alerts.receivers import deliver
from raypipe.alerts.rules import Alert, judge
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.alerts import Receiver, Rule
from raypipe.config.shared import SharedConfig
from raypipe.errors import RaypipeError

log = logging.getLogger(__name__)

# The state at a receiver that did not take a message.
OWED = "owed"


@dataclass(frozen=True)
class Review:
    """The alerts of a night's pipelines.

    Attributes:
        open: the alerts that are open now.
        opened: those of them that were not open before the night.
        resolved: the alerts that ended.
        warnings: what could not be measured, stored or sent.
    """

    open: tuple[Alert, ...] = ()
    opened: tuple[Alert, ...] = ()
    resolved: tuple[Alert, ...] = ()
    warnings: tuple[str, ...] = ()


def review(endpoint: Endpoint, configs: Mapping[str, SharedConfig], outcomes: Sequence[Outcome]) -> Review:
    """Judge the rules of a night's pipelines, store the alerts, and send them. An error is only a warning.

    Args:
        configs: by pipeline, or `features`.
    """
    warnings: list[str] = []
    try:
        with Client(endpoint) as client:
            return _reviewed(client, configs, outcomes, warnings)
    except RaypipeError as error:
        _warn(warnings, "the alerts of the night are not stored", error)
    # Receivers hear of a failed night without the database, too; without its state, each night anew.
    now = datetime.now(UTC)
    failed = judge(_rules(configs), [outcome.reading(now.date()) for outcome in outcomes], (), now)
    send(configs, failed, warnings)
    is_open = tuple(alert for alert in failed if alert.status == "open")
    return Review(is_open, is_open, (), tuple(warnings))


def _reviewed(
    client: Client, configs: Mapping[str, SharedConfig], outcomes: Sequence[Outcome], warnings: list[str]
) -> Review:
    now = datetime.now(UTC)
    # Nights have the days on which they ran: a failed night may not have reached a date.
    readings = [outcome.reading(now.date()) for outcome in outcomes]
    for name, config in configs.items():
        try:
            readings += measured(client, name, config)
        except RaypipeError as error:
            _warn(warnings, f"{name} was not measured for alerts", error)
    before = {alert.alert_id: alert for alert in records.standing(client, now)}
    standing = [alert for alert in before.values() if alert.status != "resolved"]
    changed = judge(_rules(configs), readings, standing, now)
    records.write(client, changed, now)
    after = {**before, **{alert.alert_id: alert for alert in changed}}
    sent = send(configs, after.values(), warnings)
    records.write(client, sent, datetime.now(UTC))
    was_open = {alert.alert_id for alert in standing if alert.status == "open"}
    of_night = [alert for alert in after.values() if alert.place.pipeline in configs]
    is_open = tuple(alert for alert in of_night if alert.status == "open")
    return Review(
        is_open,
        tuple(alert for alert in is_open if alert.alert_id not in was_open),
        tuple(alert for alert in of_night if alert.status == "resolved" and alert.alert_id in was_open),
        tuple(warnings),
    )


def send(configs: Mapping[str, SharedConfig], alerts: Iterable[Alert], warnings: list[str]) -> list[Alert]:
    """Send the alerts that receivers have not got in their present status, and return these with their new state.

    A receiver that takes no message gets it the next time; the others get theirs.
    """
    known = {alert.alert_id: alert for alert in alerts}
    changed: dict[str, Alert] = {}
    for (name, receiver), pipelines in receivers_of(configs).items():
        due = [alert for alert in known.values() if alert.place.pipeline in pipelines and _is_due(alert, name)]
        if not due:
            continue
        try:
            deliver(name, receiver, due)
        except RaypipeError as error:
            _warn(warnings, f"the receiver {name} got no message, and gets it next time", error)
            states = dict.fromkeys((alert.alert_id for alert in due), OWED)
        else:
            states = {alert.alert_id: str(alert.status) for alert in due}
        for alert_id, state in states.items():
            alert = known[alert_id]
            known[alert_id] = changed[alert_id] = replace(alert, sent={**alert.sent, name: state})
    return list(changed.values())


def _is_due(alert: Alert, receiver: str) -> bool:
    """Return whether a receiver lacks an alert's status; an end counts if the receiver should know the alert."""
    state = alert.sent.get(receiver)
    return state != alert.status and (alert.status == "open" or (alert.status == "resolved" and state is not None))


def receivers_of(configs: Mapping[str, SharedConfig]) -> dict[tuple[str, Receiver], set[str]]:
    """Return the pipelines of each receiver; a pipeline's file may change those of base.yaml."""
    pipelines: dict[tuple[str, Receiver], set[str]] = {}
    for pipeline, config in configs.items():
        for name, receiver in config.alerts.receivers.items():
            if receiver is not None:
                pipelines.setdefault((name, receiver), set()).add(pipeline)
    return pipelines


def test(config: SharedConfig) -> dict[str, str]:
    """Send a test message to each receiver, and return by name the reason of a failure, empty without one."""
    now = datetime.now(UTC)
    message = "this is a test of `raypipe alerts --test`; nothing has happened"
    alert = Alert("00000000-test", "test", Place("raypipe", "test"), "warning", "open", 0.0, message, (), now)
    return {
        name: _failure(name, receiver, alert)
        for name, receiver in config.alerts.receivers.items()
        if receiver is not None
    }


def _failure(name: str, receiver: Receiver, alert: Alert) -> str:
    try:
        deliver(name, receiver, [alert])
    except RaypipeError as error:
        return _reason(error)
    return ""


def _rules(configs: Mapping[str, SharedConfig]) -> dict[str, Mapping[str, Rule | None]]:
    return {name: config.alerts.rules for name, config in configs.items()}


def _warn(warnings: list[str], problem: str, error: RaypipeError) -> None:
    warnings.append(f"{problem}: {_reason(error)}")
    log.warning("%s", warnings[-1])


def _reason(error: RaypipeError) -> str:
    return error.problem if error.found is None else f"{error.problem} ({error.found})"
