"""Test a fit that is killed while it uploads its artifact."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raypipe.artifact.table import TABLE
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate
from raypipe.demo.publisher import build
from tests.conftest import PUBLISHER_DAYS, PUBLISHER_LAST_DATE, PUBLISHER_SEED, _fresh_database

USERS = 3000
# Runs the command line, and dies right before the manifest is uploaded.
DYING = """
import os, signal, sys
from raypipe.artifact.table import Table
from raypipe.cli import app
insert = Table._insert
def dying(store, sha256, chunk, pieces, upload):
    if "manifest.json" in pieces:
        os.kill(os.getpid(), signal.SIGKILL)
    insert(store, sha256, chunk, pieces, upload)
Table._insert = dying
app()
"""


@pytest.fixture
def place(endpoint: Endpoint) -> Iterator[Endpoint]:
    """A small publisher without any model."""
    with _fresh_database(endpoint) as fresh:
        with Client(fresh) as client:
            migrate(client)
            build(client, users=USERS, days=PUBLISHER_DAYS, seed=PUBLISHER_SEED, last_date=PUBLISHER_LAST_DATE)
        yield fresh


def raypipe(place: Endpoint, *arguments: str, program: tuple[str, ...] = ("-m", "raypipe")) -> tuple[int, Any]:
    known = {**os.environ, "RAYPIPE_URL": str(place)}
    if place.password_file:
        known["RAYPIPE_PASSWORD_FILE"] = place.password_file
    done = subprocess.run(
        [sys.executable, *program, *arguments, "--json"], env=known, capture_output=True, text=True, check=False
    )
    return done.returncode, json.loads(done.stdout or "null")


def artifacts(client: Client) -> set[str]:
    return {row[0] for row in client.rows(f"SELECT DISTINCT artifact_sha256 FROM {TABLE}")}


def age(client: Client, sha256: str) -> None:
    """Make the rows of an artifact two days old."""
    values = {"sha256": sha256}
    condition = "artifact_sha256 = {sha256:String}"
    client.run(
        "CREATE TABLE aged ENGINE = Memory AS"
        f" SELECT * REPLACE (written_at - toIntervalDay(2) AS written_at) FROM {TABLE} WHERE {condition}",
        values,
    )
    client.run(f"ALTER TABLE {TABLE} DELETE WHERE {condition}", values, {"mutations_sync": 2})
    client.run(f"INSERT INTO {TABLE} SELECT * FROM aged")


def test_a_fit_that_is_killed_in_its_upload_registers_nothing_and_is_cleaned(place: Endpoint, tmp_path: Path) -> None:
    quick = ("fit", "churn", "--set", "evaluate.bootstrap=50")
    code, _ = raypipe(place, *quick, program=("-c", DYING))
    assert code == -signal.SIGKILL
    with Client(place) as client:
        (left,) = artifacts(client)
        known = client.rows("SELECT model_status, model_storage_url FROM ml_model_registry FINAL")
        assert known == [("TRAINING", "")]
        # With other rounds, because the same fit would store the same artifact.
        code, document = raypipe(place, *quick, "--set", "model.rounds=50")
        assert code == 0, document
        assert document["artifact_sha256"] != left
        assert artifacts(client) == {left, document["artifact_sha256"]}
        raypipe(place, "doctor", "--clean")
        assert artifacts(client) == {left, document["artifact_sha256"]}, "it may belong to a fit at work"
        age(client, left)
        _, checked = raypipe(place, "doctor")
        (check,) = [item for item in checked["checks"] if item["name"] == "artifacts"]
        assert (check["status"], check["next_step"]) == ("warning", "raypipe doctor --clean")
        _, cleaned = raypipe(place, "doctor", "--clean")
        assert f"artifact {left[:12]}" in cleaned["dropped"]
        assert artifacts(client) == {document["artifact_sha256"]}
        code, document = raypipe(place, "score", "churn")
        assert (code, document["rows_rejected"]) == (0, 0)
