"""Test messages to receivers: their forms, secrets by reference, commands, and receivers that do not answer."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from raypipe.alerts import alerts, messages
from raypipe.alerts.reading import Place
from raypipe.alerts.receivers import deliver
from raypipe.alerts.rules import Alert
from raypipe.alerts.web import NotDelivered
from raypipe.config.alerts import Alerts, Receiver
from raypipe.config.shared import SharedConfig
from raypipe.errors import ConfigError
from tests.hooks import Hook, hook

AT = datetime(2026, 1, 31, 3, tzinfo=UTC)


def alert(number: int = 1, status: Any = "open", **place: str) -> Alert:
    at = Place(**{"pipeline": "churn", "metric": "auc", "slice_column": "brand_id", "slice_value": "b1", **place})
    ended = AT if status == "resolved" else None
    return Alert(
        f"{number:08}-0000", "low", at, "critical", status, 0.6, f"{at} is 0.6", (date(2026, 1, 30),), AT, ended
    )


@pytest.fixture
def server() -> Iterator[Hook]:
    with hook() as running:
        yield running


def test_slack_gets_a_text_with_a_line_per_rule(server: Hook, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", f"{server.url}/services/T0")
    deliver("oncall", Receiver(form="slack", url_variable="HOOK"), [alert(), alert(2, slice_value="b2")])
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/services/T0")
    assert request.headers["Content-Type"] == "application/json"
    text = "*raypipe*\ncritical: churn: auc where brand_id is b1 is 0.6; also auc where brand_id is b2"
    assert request.json() == {"text": text}


def test_a_name_with_markup_is_text_in_slack() -> None:
    body = messages.slack([alert(slice_value="<!channel> & <https://x|y>")])
    assert "&lt;!channel&gt; &amp; &lt;https://x|y&gt;" in body["text"]
    assert "<" not in body["text"]


def test_many_alerts_are_one_message_of_bounded_length() -> None:
    many = [alert(number, pipeline=f"p{number}") for number in range(600)]
    text = messages.slack(many)["text"]
    assert text.endswith("and 580 more: `raypipe alerts`")
    document = messages.alertmanager(many, "pager")
    assert (len(document["alerts"]), document["truncatedAlerts"]) == (500, 100)


def test_a_receiver_of_alertmanager_gets_version_4_of_its_webhook(server: Hook, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("t0ken\n")
    token.chmod(0o600)
    receiver = Receiver(form="alertmanager", url=f"{server.url}/alerts", token_file=str(token))
    deliver("pager", receiver, [alert(), alert(2, "resolved")])
    (request,) = server.requests
    assert request.headers["Authorization"] == "Bearer t0ken"
    document = request.json()
    assert {name: document[name] for name in ("version", "status", "receiver")} == {
        "version": "4",
        "status": "firing",
        "receiver": "pager",
    }
    assert document["commonLabels"]["alertname"] == "low"
    first, second = document["alerts"]
    assert first == {
        "status": "firing",
        "labels": {"alertname": "low", "pipeline": "churn", "metric": "auc", "severity": "critical", "brand_id": "b1"},
        "annotations": {"summary": "churn: auc where brand_id is b1 is 0.6"},
        "startsAt": "2026-01-31T03:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "",
        "fingerprint": "000000010000",
    }
    assert (second["status"], second["endsAt"]) == ("resolved", "2026-01-31T03:00:00Z")


def test_a_command_gets_the_alerts_on_its_standard_input(tmp_path: Path) -> None:
    got = tmp_path / "got.json"
    program = f"import sys, pathlib; pathlib.Path({str(got)!r}).write_text(sys.stdin.read())"
    deliver("script", Receiver(form="command", command=(sys.executable, "-c", program)), [alert()])
    assert json.loads(got.read_text())["alerts"][0]["labels"]["alertname"] == "low"


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("import sys; sys.exit('no token=secret here')", "exit code 1 no token=*** here"),
        ("import time; time.sleep(60)", "did not end within 0.5 seconds"),
        # A child that outlives its parent holds the parent's files.
        ("import os, time; os.fork() or time.sleep(60); os._exit(3)", "exit code 3"),
    ],
)
def test_a_command_that_fails_or_hangs_is_an_error(program: str, reason: str) -> None:
    receiver = Receiver(form="command", command=(sys.executable, "-c", program), timeout_seconds=0.5)
    started = time.perf_counter()
    with pytest.raises(NotDelivered) as caught:
        deliver("script", receiver, [alert()])
    assert reason in str(caught.value)
    assert time.perf_counter() - started < 10


def test_a_program_that_does_not_exist_is_an_error() -> None:
    with pytest.raises(NotDelivered, match="cannot be started"):
        deliver("script", Receiver(form="command", command=("/nowhere/page",)), [alert()])


def test_a_secret_that_is_missing_or_readable_by_others_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"The variable NO_HOOK of alerts.receivers.a.url_variable is empty"):
        deliver("a", Receiver(form="slack", url_variable="NO_HOOK"), [alert()])
    file = tmp_path / "url"
    file.write_text("http://127.0.0.1:9/secret")
    file.chmod(0o644)
    with pytest.raises(ConfigError, match=r"readable by others"):
        deliver("a", Receiver(form="slack", url_file=str(file)), [alert()])
    file.chmod(0o600)
    with pytest.raises(NotDelivered) as caught:
        deliver("a", Receiver(form="slack", url_file=str(file)), [alert()])
    assert "secret" not in str(caught.value)


def configured(**receivers: Receiver | None) -> SharedConfig:
    return SharedConfig(alerts=Alerts(receivers=receivers))


def test_a_receiver_that_is_down_is_a_warning_and_gets_the_message_next_time(server: Hook) -> None:
    with hook() as other:
        config = configured(
            down=Receiver(form="alertmanager", url=server.url), up=Receiver(form="alertmanager", url=other.url)
        )
        server.behaviour = 503
        warnings: list[str] = []
        (first,) = alerts.send({"churn": config}, [alert()], warnings)
        assert first.sent == {"down": "owed", "up": "open"}
        (warning,) = warnings
        assert "the receiver down got no message, and gets it next time" in warning
        server.behaviour = 200
        (second,) = alerts.send({"churn": config}, [first], warnings)
        assert second.sent == {"down": "open", "up": "open"}
        assert (len(server.requests), len(other.requests), len(warnings)) == (2, 1, 1)
        # Nothing is sent twice.
        assert alerts.send({"churn": config}, [second], warnings) == []


def test_a_receiver_hears_of_an_end_if_it_has_to_know_of_the_alert(server: Hook) -> None:
    config = {"churn": configured(hook=Receiver(form="alertmanager", url=server.url))}
    ended = alert(status="resolved")
    assert alerts.send(config, [ended], []) == []
    for state in ("owed", "open"):
        known = Alert(**{**vars(ended), "sent": {"hook": state}})
        assert alerts.send(config, [known], [])[0].sent == {"hook": "resolved"}


def test_a_receiver_hears_of_its_own_pipelines(server: Hook) -> None:
    own = configured(hook=Receiver(form="alertmanager", url=server.url))
    others = configured(hook=None)
    sent = alerts.send({"churn": own, "clicks": others}, [alert(), alert(2, pipeline="clicks")], [])
    assert [item.place.pipeline for item in sent] == ["churn"]
