"""Test a command as a job of a Ray cluster with a token: log, exit code, no visible secret."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from tests import clusters
from tests.clusters import Head
from tests.faults.actors import awaited

# The embedded engine has a password, which must show nowhere.


@pytest.fixture(scope="module")
def password(registered_model: Any) -> str:
    found: str = registered_model.endpoint.password()
    assert found
    return found


@pytest.fixture(scope="module")
def head(registered_model: Any, password: str) -> Iterator[Head]:
    settings = {
        "RAYPIPE_URL": str(registered_model.endpoint),
        "RAYPIPE_PASSWORD": password,
        "RAYPIPE_ARTIFACTS": str(registered_model.artifacts),
    }
    with clusters.head(cpus=1, **settings) as started:
        yield started


class Shell:
    """A user's shell on another machine: it knows the token and nothing of ClickHouse."""

    def __init__(self, head: Head, project: Path, home: Path) -> None:
        self.head = head
        self._project = project
        self._known: dict[str, str | None] = {
            "HOME": str(home),
            "RAY_AUTH_TOKEN": head.token,
            "RAY_AUTH_TOKEN_PATH": None,
            "RAY_AUTH_MODE": None,
            "RAYPIPE_URL": None,
            "RAYPIPE_PASSWORD": None,
            "RAYPIPE_ARTIFACTS": None,
            # Ray's client would go there instead.
            "RAY_ADDRESS": "http://127.0.0.1:1",
        }

    def submit(self, *arguments: str, at: str | None = None, **variables: str | None) -> Result:
        options = ["--working-dir", str(self._project)]
        command = ["submit", at or self.head.address, *options, *arguments]
        return CliRunner().invoke(app, command, env={**self._known, **variables}, prog_name="raypipe")


@pytest.fixture
def shell(head: Head, registered_model: Any, tmp_path: Path) -> Shell:
    return Shell(head, registered_model.project, tmp_path)


def test_a_run_is_submitted_followed_and_published_and_no_secret_shows(
    shell: Shell, registered_model: Any, password: str
) -> None:
    result = shell.submit("--json", "--", "run", "churn", "--date", "latest", "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert (document["status"], document["exit_code"]) == ("SUCCEEDED", 0)
    # Beside the log, the cluster and the command say a line each, and Ray's client nothing.
    assert "Uploading package" not in result.stderr
    # What the job prints is its log, which comes on stderr beside a document.
    published = json.loads(result.stderr[result.stderr.index("\n{") : result.stderr.rindex("}") + 1])
    with Client(registered_model.endpoint) as client:
        source = client.rows(
            "SELECT user_id FROM customer_user_features WHERE feature_date = {day:Date} AND active_last_30_days = 1",
            {"day": registered_model.day},
        )
        scored = client.rows(
            "SELECT entity_id FROM ml_model_predictions WHERE batch_id = {run:String}", {"run": published["run_id"]}
        )
    assert sorted(scored) == sorted(source) != []
    (job,) = [one for one in shell.head.jobs() if one["submission_id"] == document["submission_id"]]
    logged = shell.head.logged()
    assert published["run_id"] in logged
    seen = json.dumps(job) + result.output + logged
    assert [secret for secret in (password, shell.head.token) if secret in seen] == []


def test_the_exit_code_and_the_reason_of_a_job_that_fails_are_passed_on(shell: Shell) -> None:
    result = shell.submit("--", "run", "churn", "--set", "artifacts=.raypipe/artifacts")
    assert result.exit_code == 2
    assert "would vanish with the job's working directory" in result.stdout
    assert "failed after" in result.stderr


def test_without_waiting_the_name_of_the_job_is_all_that_is_printed(shell: Shell) -> None:
    result = shell.submit("--no-wait", "--", "config", "schema")
    assert result.exit_code == 0, result.output
    name = result.stdout.strip()
    assert name.startswith("raypipe_config_")
    assert f"RAY_AUTH_MODE=token ray job stop {name} --address {shell.head.address}" in result.stderr
    assert awaited(lambda: shell.head.asked(f"/api/jobs/{name}")["driver_exit_code"] == 0, "the end of a job")


def refused(shell: Shell, result: Result, code: int, *named: str) -> None:
    """The command ended with a reason, and the cluster has heard of no job."""
    assert result.exit_code == code
    assert "submission_id" not in result.stdout
    assert [text for text in named if text not in result.stderr] == []
    assert "Traceback" not in result.stderr
    assert shell.head.token not in result.stderr


@pytest.fixture
def unchanged(head: Head) -> Iterator[None]:
    before = len(head.jobs())
    yield
    assert len(head.jobs()) == before


@pytest.mark.usefixtures("unchanged")
class TestToken:
    def test_missing(self, shell: Shell) -> None:
        result = shell.submit("--json", "--", "run", "churn", RAY_AUTH_TOKEN=None)
        refused(shell, result, 1, "asks for a token, and none is set", "RAY_AUTH_TOKEN", "ray get-auth-token")

    def test_wrong(self, shell: Shell, tmp_path: Path) -> None:
        wrong = tmp_path / "token"
        wrong.write_text("of-another-cluster\n")
        variables = {"RAY_AUTH_TOKEN": None, "RAY_AUTH_TOKEN_PATH": str(wrong)}
        result = shell.submit("--json", "--", "run", "churn", **variables)
        refused(shell, result, 1, "does not accept the token", f"RAY_AUTH_TOKEN_PATH={wrong}", "ray get-auth-token")
        assert "of-another-cluster" not in result.stderr

    def test_in_a_file_that_is_not_there(self, shell: Shell, tmp_path: Path) -> None:
        variables = {"RAY_AUTH_TOKEN": None, "RAY_AUTH_TOKEN_PATH": str(tmp_path / "absent")}
        refused(shell, shell.submit("--", "run", "churn", **variables), 2, "absent", "RAY_AUTH_TOKEN_PATH")

    def test_in_the_default_file(self, shell: Shell, tmp_path: Path) -> None:
        (tmp_path / ".ray").mkdir()
        (tmp_path / ".ray" / "auth_token").write_text("of-another-cluster")
        result = shell.submit("--", "run", "churn", RAY_AUTH_TOKEN=None)
        refused(shell, result, 1, "does not accept the token", str(tmp_path / ".ray" / "auth_token"))

    def test_the_token_itself_is_not_sent_in_a_job(self, shell: Shell) -> None:
        result = shell.submit("--env", f"WORD=a{shell.head.token}", "--", "run", "churn")
        refused(shell, result, 2, "RAY_AUTH_TOKEN is in --env")


@pytest.mark.usefixtures("unchanged")
class TestAddress:
    def test_where_nothing_answers(self, shell: Shell) -> None:
        result = shell.submit("--json", "--", "run", "churn", at="http://127.0.0.1:1")
        refused(shell, result, 1, "Nothing answers at http://127.0.0.1:1", "ray start --head")

    def test_where_no_job_server_answers_which_does_not_learn_the_token(self, shell: Shell) -> None:
        heard: list[str] = []

        class Other(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                heard.append(str(self.headers))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(b"Ok.\n")

            def log_message(self, *_: object) -> None:
                pass

        other = HTTPServer(("127.0.0.1", 0), Other)
        thread = threading.Thread(target=other.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            address = f"http://127.0.0.1:{other.server_port}"
            refused(
                shell,
                shell.submit("--", "run", "churn", at=address),
                1,
                f"The server at {address} is not a Ray job server",
            )
        finally:
            other.shutdown()
            thread.join()
            other.server_close()
        assert heard
        assert shell.head.token not in "".join(heard)

    def test_of_the_cluster_instead_of_its_job_server(self, shell: Shell) -> None:
        refused(shell, shell.submit("--", "run", "churn", at=shell.head.gcs), 2, shell.head.gcs, "8265")
