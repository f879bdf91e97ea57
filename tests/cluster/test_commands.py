"""Test the commands of a night on two replicas, in a database of its own name; both replicas have the same rows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raypipe.clickhouse import replication
from raypipe.clickhouse.statements import identifier
from raypipe.errors import UsageError
from raypipe.loaders import save
from raypipe.project import shipped
from tests.cluster.conftest import Replicas

DAY = date(2026, 1, 31)
ROWS = """
SELECT name FROM system.tables
WHERE database = currentDatabase() AND engine LIKE '%MergeTree' AND NOT match(name, '^(demo_|raypipe_lock)')
ORDER BY name
"""


@dataclass(frozen=True)
class Project:
    """A folder with configs of the cluster, and its replicas."""

    replicas: Replicas
    folder: Path

    def run(self, *arguments: str, url: str | None = None) -> Any:
        """Run a command through one or both replicas, and return its JSON document."""
        environment = {**os.environ, "RAYPIPE_URL": url or str(self.replicas.first), "RAY_USAGE_STATS_ENABLED": "0"}
        command = [sys.executable, "-m", "raypipe", *arguments, "--json"]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, (arguments, done.stdout[-2000:], done.stderr[-2000:])
        return json.loads(done.stdout)

    @property
    def both(self) -> str:
        """Return a URL with both replicas."""
        first, second = (node.url.partition("://")[2] for node in self.replicas.nodes)
        return str(replace(self.replicas.first, url=f"http://{first},{second}"))

    def contents(self) -> list[dict[str, Any]]:
        """Return the number of rows and a checksum of each table on each replica."""
        result = []
        for number in (1, 2):
            with self.replicas.client(number) as client:
                replication.catch_up(client)
                names = [name for (name,) in client.rows(ROWS)]
                sql = "SELECT count(), groupBitXor(cityHash64(*)) FROM {}"
                result.append({name: client.rows(sql.format(identifier(name)))[0] for name in names})
        return result


@pytest.fixture(scope="module")
def project(replicas: Replicas, tmp_path_factory: pytest.TempPathFactory) -> Project:
    folder = tmp_path_factory.mktemp("project")
    for name in ("configs", "sql"):
        shutil.copytree(shipped() / name, folder / name)
    base = folder / "configs" / "base.yaml"
    base.write_text(base.read_text().replace("cluster: null", f"cluster: {replicas.first.cluster}"))
    made = Project(replicas, folder)
    made.run("migrate")
    made.run("demo", "--users", "2000")
    return made


def test_the_demo_fills_every_table_on_both_replicas(project: Project) -> None:
    first, second = project.contents()
    assert first == second
    assert first["customer_user_features"][0] > 0


def test_the_doctor_finds_the_nodes_alike(project: Project) -> None:
    checks = {check["name"]: check for check in project.run("doctor")["checks"]}
    assert checks["cluster"]["status"] == checks["tables"]["status"] == "ok", checks
    assert project.run("migrate", "--check")["created"] == []


def test_nights_through_either_replica_and_a_rollback_leave_the_same_on_both(project: Project) -> None:
    second = str(project.replicas.nodes[1])
    for url in (project.both, second):
        night = project.run("nightly", "--only", "churn", "--only", "segmentation", url=url)
        assert {step["pipeline"]: step["status"] for step in night["pipelines"]} == {
            "features": "done",
            "churn": "done",
            "segmentation": "done",
        }
    version = project.run("fit", "churn", "--set", "model.rounds=20", url=project.both)["model_version"]
    project.run("promote", "churn", version, "--reason", "a test")
    project.run("score", "churn", url=second)
    project.run("rollback", "churn", url=project.both)
    project.run("verify", "--date", "latest")
    project.run("features", "--date", "latest", "--replace")
    first, other = project.contents()
    assert first == other
    checks = {check["name"]: check["status"] for check in project.run("doctor")["checks"]}
    assert checks["leftovers"] == checks["published rows"] == "ok", checks


def test_predictions_are_saved_once_whichever_replica_gets_them(project: Project) -> None:
    rows = pa.table(
        {"company_id": ["c"], "brand_id": ["b"], "entity_id": ["u"], "prediction_probability": [0.5]},
    )
    with project.replicas.client(1) as first, project.replicas.client(2) as second:
        batch = save.save_predictions(first, rows, "m1", "by_hand", DAY)
        replication.catch_up(second)
        with pytest.raises(UsageError, match="exist"):
            save.save_predictions(second, rows, "m1", "by_hand", DAY)
        of_batch = "SELECT count() FROM ml_model_predictions WHERE batch_id = {batch:String}"
        assert [client.value(of_batch, {"batch": batch}) for client in (first, second)] == [1, 1]
