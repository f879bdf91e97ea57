"""Test that an interrupted or killed sweep resumes, and that a matrix of sweeps is one job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.demo.publisher import build
from tests.conftest import PUBLISHER_DAYS, PUBLISHER_LAST_DATE, PUBLISHER_SEED, _fresh_database
from tests.faults.actors import awaited

USERS = 3000
TRIALS = 8
PATIENCE = 200
INTERRUPTED = 130
SPACE = "{model.params.max_depth: {int: [2, 6]}, model.params.eta: {log: [0.02, 0.3]}}"
KNOWN = ("evaluate.bootstrap=50", "model.rounds=60", "sweep.grace_rounds=10", "sweep.space=", f"sweep.space={SPACE}")


@dataclass(frozen=True)
class Sweeper:
    """A small publisher, with its sweeps in processes of their own."""

    endpoint: Endpoint
    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        settings = [part for item in (*KNOWN, f"artifacts={self.folder}", "ray.cpus=2") for part in ("--set", item)]
        known = {**os.environ, "RAYPIPE_URL": str(self.endpoint), "RAY_USAGE_STATS_ENABLED": "0"}
        if self.endpoint.password_file:
            known["RAYPIPE_PASSWORD_FILE"] = self.endpoint.password_file
        return subprocess.Popen(
            [sys.executable, "-m", "raypipe", "sweep", *arguments, *settings, "--json"],
            env=known,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def finished(self, *arguments: str) -> dict[str, Any]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, err
        document: dict[str, Any] = json.loads(out)
        return document

    def statuses(self, name: str = "") -> list[str]:
        """Return the status of each trial from its row."""
        sql = (
            "SELECT run_status FROM ml_model_training_runs FINAL"
            " WHERE run_type = 'TUNING' AND startsWith(run_id, {name:String})"
        )
        with Client(self.endpoint) as client:
            return [row[0] for row in client.rows(sql, {"name": name})]

    def await_completed(self, process: subprocess.Popen[str], count: int) -> None:
        def enough() -> bool:
            assert process.poll() is None, process.communicate()[1]
            return self.statuses().count("COMPLETED") >= count

        awaited(enough, "trials that are over", PATIENCE)

    def name(self) -> str:
        with Client(self.endpoint) as client:
            begun = client.value("SELECT run_id FROM ml_model_training_runs FINAL WHERE run_type = 'SWEEP'")
        return str(begun)


@pytest.fixture
def sweeper(endpoint: Endpoint, tmp_path: Path) -> Iterator[Sweeper]:
    with _fresh_database(endpoint) as fresh:
        with Client(fresh) as client:
            migrate(client)
            build(client, users=USERS, days=PUBLISHER_DAYS, seed=PUBLISHER_SEED, last_date=PUBLISHER_LAST_DATE)
        yield Sweeper(fresh, tmp_path)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_sweep_that_is_stopped_in_the_middle_goes_on_with_what_is_finished(
    sweeper: Sweeper, how: signal.Signals
) -> None:
    process = sweeper.start("churn", "--trials", str(TRIALS))
    sweeper.await_completed(process, 3)
    process.send_signal(how)
    _, err = process.communicate(timeout=PATIENCE)
    name = sweeper.name()
    kept = sweeper.statuses().count("COMPLETED")
    assert kept < TRIALS, "it was over before it was stopped"
    if how == signal.SIGINT:
        assert process.returncode == INTERRUPTED
        assert f"raypipe sweep churn --trials {TRIALS} --set " in err
        assert f"--resume {name}` continues with the finished trials" in err
        assert "RUNNING" not in sweeper.statuses()
    # Ray Tune's experiment holds pickles, so it must be in no folder that others can write to.
    assert list(sweeper.folder.iterdir()) == []
    document = sweeper.finished("churn", "--resume", name, "--trials", str(TRIALS))
    assert document["sweep"] == name
    assert document["trials"]["done"] == TRIALS
    # Finished trials do not run again. Interrupted trials continue in their own rows.
    assert sweeper.statuses(name) == ["COMPLETED"] * TRIALS
    assert document["default"]["test"]["auc"]["low"] < document["best"]["test"]["auc"]["high"]


def test_a_sweep_whose_rows_cannot_be_written_ends_with_that_error_and_goes_on_later(sweeper: Sweeper) -> None:
    process = sweeper.start("churn", "--trials", str(TRIALS))
    sweeper.await_completed(process, 1)
    with Client(sweeper.endpoint) as client:
        client.run("RENAME TABLE ml_model_training_runs TO away")
        _, err = process.communicate(timeout=PATIENCE)
        client.run("RENAME TABLE away TO ml_model_training_runs")
    assert process.returncode == 1
    assert "error: ClickHouse at" in err, err
    assert "returned error 60 (UNKNOWN_TABLE)" in err
    assert "unexpected" not in err
    name = sweeper.name()
    assert sweeper.statuses(name).count("COMPLETED") < TRIALS, "it was over before its table was gone"
    assert sweeper.finished("churn", "--resume", name, "--trials", str(TRIALS))["trials"]["done"] == TRIALS
    assert sweeper.statuses(name) == ["COMPLETED"] * TRIALS


def test_a_matrix_of_two_pipelines_and_two_brands_is_one_job(sweeper: Sweeper) -> None:
    matrix = sweeper.folder / "brands.yaml"
    matrix.write_text(
        "pipelines: [churn, conversion]\n"
        "models: {trees: {model.class: 'raypipe.models.xgboost:XGBoost', model.params: {eta: 0.1, max_depth: 4}}}\n"
        "brands: [The Northern Post, Money Daily]\n"
        "set: {sweep.trials: 2}\n"
    )
    document = sweeper.finished("--matrix", str(matrix))
    assert [cell["cell"] for cell in document["cells"]] == [
        "churn × trees × The Northern Post",
        "churn × trees × Money Daily",
        "conversion × trees × The Northern Post",
        "conversion × trees × Money Daily",
    ]
    assert document["failed"] == []
    assert len(sweeper.statuses(document["sweep"])) == 8
    for cell in document["cells"]:
        judged = cell["result"]
        assert judged["trials"]["done"] == 2
        assert judged["default"]["test"]["rows"] > 0
        # Otherwise it would score every brand.
        assert judged["model_version"] is None
    sizes = {cell["result"]["default"]["test"]["rows"] for cell in document["cells"][:2]}
    assert len(sizes) == 2
