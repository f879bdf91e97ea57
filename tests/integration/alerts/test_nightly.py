"""Test the end of a night: its alerts, the exit code for them, and a receiver that hangs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from tests.hooks import hook
from tests.integration.conftest import RegisteredModel


@pytest.fixture(scope="module")
def model(registered_model: RegisteredModel) -> Iterator[RegisteredModel]:
    config = registered_model.project / "configs" / "churn.yaml"
    # Its snapshots are there, without sessions to build features from.
    config.write_text(f"{config.read_text()}\nafter: []\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAYPIPE_URL", str(registered_model.endpoint))
        if registered_model.endpoint.password_file:
            patch.setenv("RAYPIPE_PASSWORD_FILE", registered_model.endpoint.password_file)
        yield registered_model


def night(model: RegisteredModel, *arguments: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of a night, and its alerts."""
    own = [
        "--config",
        str(model.project / "configs"),
        "--only",
        "churn",
        "--date",
        str(model.day),
        "--fail-on",
        "alert",
    ]
    result = CliRunner().invoke(app, ["nightly", *own, "--set", f"artifacts={model.artifacts}", "--json", *arguments])
    alerts: dict[str, Any] = json.loads(result.stdout)["alerts"]
    return result.exit_code, alerts


def gap(model: RegisteredModel, days_ago: int, value: float) -> None:
    """Write a measured loss of performance as the validation does."""
    day = model.day - timedelta(days=days_ago)
    row = {"pipeline": "churn", "date": day, "kind": "measured", "run_id": f"run_{day}"}
    with Client(model.endpoint) as client:
        client.insert_rows("raypipe_performance", [{**row, "metric": "performance_gap", "value": value}])


def test_an_alert_is_sent_once_ends_the_night_with_its_own_code_and_is_resolved(model: RegisteredModel) -> None:
    gap(model, 30, 0.05)
    with hook() as server:
        receiver = f"{{pager: {{form: alertmanager, url: '{server.url}', timeout_seconds: 0.5}}}}"
        set_receiver = ("--set", f"alerts.receivers={receiver}")
        server.behaviour = "hang"
        code, alerts = night(model, *set_receiver)
        assert (code, [(alert["rule"], alert["is_new"]) for alert in alerts["open"]]) == (4, [("performance", True)])
        assert "the receiver pager got no message" in alerts["warnings"][0]
        server.behaviour = 200
        code, alerts = night(model, *set_receiver)
        assert (code, [alert["is_new"] for alert in alerts["open"]], alerts["warnings"]) == (4, [False], [])
        # The receiver has it now, so that the next night sends nothing.
        assert night(model, *set_receiver)[0] == 4
        gap(model, 29, 0.0)
        code, alerts = night(model, *set_receiver)
        assert (code, alerts["open"], [alert["rule"] for alert in alerts["resolved"]]) == (0, [], ["performance"])
        sent = [entry["status"] for request in server.requests for entry in request.json()["alerts"]]
        assert sent == ["firing", "firing", "resolved"], "once, and again as the receiver had not answered"


def test_a_failed_night_keeps_the_exit_code_of_a_failure(model: RegisteredModel) -> None:
    code, alerts = night(model, "--set", "source.table=nowhere")
    (failed,) = [alert for alert in alerts["open"] if alert["rule"] == "failed"]
    assert (code, failed["severity"], failed["is_new"]) == (1, "critical", True)
    assert "UNKNOWN_TABLE" in failed["reason"]
