"""Bad input ends with an error that names the next step, and leaves the database as it was."""

from __future__ import annotations

import fcntl
import http.client
import json
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import ray
from click.testing import Result
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.embedded import lease, start
from raypipe.clickhouse.embedded.folder import EngineState, Folder
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import identifier
from raypipe.cluster import connection
from raypipe.config.load import load_pipeline
from raypipe.evaluation.decision import Decision
from raypipe.fit import labelled, rivals, training_table
from raypipe.fit import recipe as recipes
from raypipe.models.protocol import FitSpec
from raypipe.models.xgboost import XGBoost
from raypipe.score import gate, plan, runs, score

CANARY = "canary-hunter2"

PIPELINES = "allowed: ads, baselines, churn, clicks, conversion, engagement, recommendation, segmentation"


@dataclass(frozen=True)
class Project:
    """A copy of a project that a test may break, and raypipe's command line on its database."""

    folder: Path
    endpoint: Endpoint
    artifacts: Path

    @property
    def environment(self) -> dict[str, str]:
        known = {"RAYPIPE_URL": str(self.endpoint), "RAYPIPE_ARTIFACTS": str(self.artifacts)}
        if self.endpoint.password_file:
            known["RAYPIPE_PASSWORD_FILE"] = self.endpoint.password_file
        return known

    def edit(self, name: str, old: str, new: str) -> None:
        """Changes one place of a file, such as `sql/churn/features.sql`."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) >= 1
        path.write_text(text.replace(old, new, 1))

    def run(self, *arguments: str, **environment: str) -> Result:
        named = [*arguments, "--config", str(self.folder / "configs")]
        return CliRunner().invoke(app, named, prog_name="raypipe", env={**self.environment, **environment})


def without(project: Project, column: str) -> None:
    """Makes the features query of churn lose a column."""
    project.edit("sql/churn/features.sql", "WITH {include", f"SELECT * EXCEPT {column} FROM (WITH {{include")
    project.edit("sql/churn/features.sql", "AND {slice}\n", "AND {slice})\n")


def content(client: Client) -> dict[str, tuple[int, int]]:
    """Rows and an order-free checksum of every table of a database."""
    tables = client.rows(
        # A refused plan leaves the results of its checks.
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine != 'View'"
        " AND name != 'raypipe_checks' ORDER BY name"
    )
    counts = [f"SELECT '{name}', count(), groupBitXor(cityHash64(*)) FROM {identifier(name)}" for (name,) in tables]
    return {name: (rows, checksum) for name, rows, checksum in client.rows(" UNION ALL ".join(counts))}


@pytest.fixture(scope="module")
def observer(registered_model: Any) -> Iterator[Client]:
    """A client of the tests themselves."""
    with Client(registered_model.endpoint) as client:
        yield client


@pytest.fixture(scope="module")
def before(observer: Client) -> dict[str, tuple[int, int]]:
    """Return the content of the database before the first test."""
    return content(observer)


@pytest.fixture
def project(registered_model: Any, tmp_path: Path) -> Project:
    """The registered model's project, copied."""
    folder = tmp_path / "project"
    shutil.copytree(registered_model.project, folder)
    return Project(folder, registered_model.endpoint, registered_model.artifacts)


@pytest.fixture
def unchanged(observer: Client, before: dict[str, tuple[int, int]]) -> Iterator[None]:
    """The database holds the same tables and rows after the test as before: no lock, no staging, no run."""
    yield
    assert content(observer) == before


def refused(result: Result, code: int, *named: str) -> str:
    """Assert that a command ended as bad input must, and that its error names each of these."""
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.exit_code == code, result.stderr
    assert_error(result, code)
    error = result.stderr[result.stderr.index("error: ") :]
    assert "Traceback" not in result.stderr
    assert "unexpected" not in error
    assert "  next: " in error or "did you mean" in error
    for name in named:
        assert name in error
    return error


def assert_error(result: Result, code: int) -> None:
    """Assert that stdout holds nothing but the JSON of the error, or nothing at all without --json."""
    if result.stdout:
        error = json.loads(result.stdout)["error"]
        assert error.keys() == {"problem", "found", "allowed", "next_step", "code"}
        assert error["code"] == code
        assert error["problem"].splitlines()[0] in result.stderr


pytestmark = pytest.mark.usefixtures("unchanged")


def test_the_project_that_the_tests_break_can_be_planned(project: Project) -> None:
    result = project.run("plan", "churn", "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert (document["rows"], document["date"]) == (300, "2026-01-31")


class TestConfig:
    def test_an_unknown_key_of_a_pipeline(self, project: Project) -> None:
        project.edit("configs/churn.yaml", "rounds: 600", "runds: 600")
        error = refused(project.run("plan", "churn", "--json"), 2, "model.runds", "did you mean rounds?", "churn.yaml:")
        assert "early_stopping_rounds" in error

    def test_an_unknown_key_of_base_yaml(self, project: Project) -> None:
        project.edit("configs/base.yaml", "timezone: UTC", "timezonne: UTC")
        for command in (["plan", "churn"], ["runs"], ["migrate", "--check"]):
            refused(project.run(*command, "--json"), 2, "timezonne", "did you mean timezone?", "base.yaml:")

    def test_an_unknown_key_of_set(self, project: Project) -> None:
        result = project.run("score", "churn", "--set", "score.chunkrows=5", "--json")
        refused(result, 2, "--set", "score.chunkrows", "did you mean chunk_rows?")

    def test_every_problem_is_told_at_once(self, project: Project) -> None:
        project.edit("configs/churn.yaml", "rounds: 600", "rounds: many")
        result = project.run("plan", "churn", "--set", "score.nonsense=1", "--json")
        refused(result, 2, "model.rounds", "'many'", "score.nonsense", "2 problems")

    def test_an_unknown_pipeline(self, project: Project) -> None:
        for command in ("plan", "score", "fit", "run"):
            refused(
                project.run(command, "chrun", "--json"),
                2,
                "'chrun'",
                PIPELINES,
                "did you mean churn?",
            )

    @pytest.mark.parametrize("command", ["runs", "models"])
    def test_an_unknown_pipeline_in_a_list(self, project: Project, command: str) -> None:
        refused(project.run(command, "chrun", "--json"), 2, "'chrun'", PIPELINES)

    def test_an_unknown_alias_in_the_history(self, project: Project) -> None:
        result = project.run("models", "history", "churn", "--alias", "chmpion", "--json")
        refused(result, 2, "'chmpion'", "champion", "raypipe models history churn")

    def test_a_folder_that_does_not_exist(self, project: Project) -> None:
        result = replace(project, folder=project.folder / "elsewhere").run("plan", "churn", "--json")
        refused(result, 2, "elsewhere/configs", "--config")

    def test_a_feature_that_gives_the_label_away(self, project: Project) -> None:
        project.edit("configs/churn.yaml", " days_active,", " active_today,")
        refused(project.run("fit", "churn", "--json"), 2, "active_today", "never_features")

    def test_a_password_in_the_url_is_refused_and_never_shown(self, project: Project) -> None:
        url = f"http://ann:{CANARY}@127.0.0.1:1/default"
        for options in ([], ["--debug"]):
            for command in (["plan", "churn"], ["runs"], ["doctor"], ["sql", "SELECT 1"]):
                result = project.run(*command, "--url", url, *options)
                assert result.exit_code == 2
                assert CANARY not in result.output
                assert "RAYPIPE_PASSWORD" in result.stderr

    @pytest.mark.parametrize("url", ["ftp://h/d", "127.0.0.1:8123", "http://", "http://h:port/d", "chdb:"])
    def test_a_url_that_is_none(self, project: Project, url: str) -> None:
        refused(project.run("runs", "--url", url, "--json"), 2, "chdb:PATH")


class TestDates:
    @pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "20260131", "31.01.2026", "1960-01-01", "2150-01-01"])
    def test_a_date_that_is_none_is_refused_before_anything_is_reached(self, project: Project, text: str) -> None:
        nowhere = replace(project, endpoint=replace(project.endpoint, url="http://127.0.0.1:1"))
        for command in ("plan", "score", "run"):
            refused(nowhere.run(command, "churn", "--date", text, "--json"), 2, "--date", text, "YYYY-MM-DD", "latest")
        refused(nowhere.run("fit", "churn", "--as-of", text, "--json"), 2, "--as-of", text)
        refused(nowhere.run("demo", "--last-date", text, "--json"), 2, "--last-date", text)

    @pytest.mark.parametrize("command", ["plan", "score"])
    def test_a_date_without_a_snapshot(self, project: Project, command: str) -> None:
        result = project.run(command, "churn", "--date", "2025-12-24", "--json")
        refused(result, 2, "customer_user_features", "2025-12-24", "2026-01-30, 2026-01-31")

    def test_a_fit_on_too_few_snapshots(self, project: Project) -> None:
        refused(project.run("fit", "churn", "--json"), 1, "too few snapshots", "2026-01-30", "30 days")


class TestSql:
    def test_a_pipeline_without_features_sql(self, project: Project) -> None:
        (project.folder / "sql/churn/features.sql").unlink()
        for command in ("plan", "score"):
            refused(project.run(command, "churn", "--json"), 2, "sql/churn/features.sql", "does not exist")

    def test_a_features_sql_without_a_place_for_slices(self, project: Project) -> None:
        project.edit("sql/churn/features.sql", " AND {slice}", "")
        refused(project.run("plan", "churn", "--json"), 2, "features.sql", "{slice}", "customer_user_features")

    @pytest.mark.parametrize("command", ["plan", "score"])
    def test_a_column_that_the_table_does_not_have(self, project: Project, command: str) -> None:
        project.edit("sql/churn/features.sql", "SELECT\n", "SELECT\n    avg_serches,\n")
        refused(project.run(command, "churn", "--json"), 2, "features.sql", "`avg_serches`")

    def test_a_feature_that_the_query_does_not_yield_any_more(self, project: Project) -> None:
        without(project, "avg_searches")
        refused(project.run("plan", "churn", "--json"), 1, "avg_searches: missing instead of Float32", "raypipe fit")

    def test_a_carried_column_that_the_query_does_not_yield_any_more(self, project: Project) -> None:
        without(project, "days_since_last_session")
        result = project.run("plan", "churn", "--json")
        refused(result, 1, "features query", "days_since_last_session: missing", "raypipe fit")

    def test_a_table_that_does_not_exist(self, project: Project) -> None:
        project.edit("sql/churn/features.sql", "FROM customer_user_features", "FROM customer_features")
        refused(project.run("plan", "churn", "--json"), 2, "features.sql", "customer_features")

    @pytest.mark.parametrize("command", ["plan", "score"])
    def test_a_publish_statement_with_a_column_that_its_target_lacks(self, project: Project, command: str) -> None:
        project.edit("sql/churn/publish.sql", "AS churn_probability", "AS churn_likelihood")
        error = refused(project.run(command, "churn", "--json"), 2, "publish.sql", "customer_churn_predictions")
        assert "found: churn_likelihood" in error
        assert "churn_probability" in error

    def test_a_publish_statement_that_reads_a_column_which_is_not_carried(self, project: Project) -> None:
        project.edit("sql/churn/publish.sql", "    total_sessions,", "    days_active AS total_sessions,")
        refused(project.run("score", "churn", "--json"), 2, "publish.sql", "`days_active`", "carry")

    def test_a_publish_statement_with_an_unknown_placeholder(self, project: Project) -> None:
        project.edit("sql/churn/publish.sql", "{level} AS", "{levle} AS")
        refused(project.run("score", "churn", "--json"), 2, "publish.sql", "{levle}", "{level}")

    def test_a_target_that_does_not_exist(self, project: Project) -> None:
        project.edit("configs/churn.yaml", "target: customer_churn_predictions", "target: churn_of_customers")
        refused(project.run("score", "churn", "--json"), 2, "churn_of_customers", "raypipe migrate")

    @pytest.mark.parametrize("copied", [False, True])
    @pytest.mark.parametrize("command", ["plan", "score"])
    def test_an_empty_population_is_refused_and_leaves_no_copy_of_itself(
        self, project: Project, command: str, copied: bool
    ) -> None:
        project.edit("sql/churn/features.sql", "active_last_30_days = 1", "active_last_30_days = 77")
        snapshot = f"source.snapshot={str(copied).lower()}"
        result = project.run(command, "churn", "--set", snapshot, "--json")
        refused(result, 3, "population of churn on 2026-01-31 is empty", "0 rows", "features.sql")

    def test_a_pipeline_without_labels_sql(self, project: Project, fittable: None) -> None:
        (project.folder / "sql/churn/labels.sql").unlink()
        refused(project.run("fit", "churn", "--json"), 2, "sql/churn/labels.sql", "does not exist")


@pytest.fixture
def fittable(monkeypatch: pytest.MonkeyPatch) -> None:
    """As though there were snapshots enough to fit on."""
    days = dict.fromkeys([date(2025, 11, 1), date(2025, 12, 15), date(2026, 1, 31)], 100)
    monkeypatch.setattr("raypipe.data.split.snapshots", lambda *_: days)


class TestModels:
    def test_a_setting_without_effect(self, project: Project) -> None:
        for command in ("plan", "score"):
            result = project.run(command, "churn", "--set", "model.params.max_dept=4", "--json")
            refused(result, 2, "does not read model.params.max_dept", "fit, sweep, run, nightly")

    def test_a_misspelt_parameter_of_a_fit_before_anything_is_read(self, project: Project) -> None:
        result = project.run("fit", "churn", "--set", "model.params.max_dept=4", "--json")
        refused(result, 2, "max_dept", "model.params")

    def test_a_reference_that_names_no_model(self, project: Project) -> None:
        for command in ("plan", "score"):
            result = project.run(command, "churn", "--model", "20200101.000000.000000", "--json")
            refused(result, 2, "'20200101.000000.000000'", "20260131.000000.abcdef", "latest", "raypipe models")

    def test_no_champion(self, project: Project) -> None:
        shutil.copy(project.folder / "configs/churn.yaml", project.folder / "configs/other.yaml")
        shutil.copytree(project.folder / "sql/churn", project.folder / "sql/other")
        project.edit("configs/other.yaml", "pipeline: churn", "pipeline: other")
        refused(project.run("score", "other", "--json"), 2, "other has no model 'champion'", "raypipe fit other")

    @pytest.mark.parametrize("name", ["model.ubj", "contract.json", "golden.arrow", "manifest.json"])
    def test_an_artifact_with_a_flipped_byte(self, project: Project, registered_model: Any, name: str) -> None:
        path = registered_model.artifact / name
        whole = path.read_bytes()
        try:
            path.write_bytes(whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:])
            for command in ("plan", "score"):
                refused(project.run(command, "churn", "--json"), 1, name, "sha256")
        finally:
            path.write_bytes(whole)

    def test_an_artifact_that_is_gone(self, project: Project, registered_model: Any) -> None:
        away = registered_model.artifact.with_name("away")
        registered_model.artifact.rename(away)
        try:
            refused(project.run("score", "churn", "--json"), 1, "is not there", "manifest.json")
        finally:
            away.rename(registered_model.artifact)

    def test_a_run_that_does_not_exist(self, project: Project) -> None:
        result = project.run("resume", "churn_20200101_00000000", "--json")
        refused(result, 2, "churn_20200101_00000000", "raypipe runs")


Answer = Callable[[str], tuple[int, dict[str, str], bytes] | None]


@contextmanager
def proxy(server: Endpoint, answer: Answer) -> Iterator[Endpoint]:
    """A ClickHouse in front of the real one that answers some statements itself."""
    address = urlsplit(server.url)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = parse_qs(urlsplit(self.path).query).get("query", [""])[0]
            found = answer(f"{asked}\n{body.decode(errors='replace')}")
            status, headers, content = found or self._forwarded(body)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self.do_POST()

        def _forwarded(self, body: bytes) -> tuple[int, dict[str, str], bytes]:
            passed = {name: value for name, value in self.headers.items() if name.lower() != "host"}
            connection = http.client.HTTPConnection(address.hostname or "", address.port)
            try:
                connection.request(self.command, self.path, body, passed)
                response = connection.getresponse()
                content = response.read()
                kept = {
                    n: v for n, v in response.getheaders() if n.lower().startswith(("x-clickhouse", "content-type"))
                }
                return response.status, kept, content
            finally:
                connection.close()

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield replace(server, url=f"http://127.0.0.1:{listening.server_port}")
    finally:
        listening.shutdown()
        thread.join()
        listening.server_close()


def failing(pattern: str, code: int, text: str) -> Answer:
    """Answers statements that match with an error, as ClickHouse does."""

    def answer(statement: str) -> tuple[int, dict[str, str], bytes] | None:
        if not re.search(pattern, statement):
            return None
        return 500, {"X-ClickHouse-Exception-Code": str(code)}, f"Code: {code}. DB::Exception: {text}".encode()

    return answer


class TestServer:
    def test_a_url_where_nothing_answers(self, project: Project) -> None:
        for command in (["plan", "churn"], ["score", "churn"], ["runs"], ["migrate"], ["sql", "SELECT 1"]):
            result = project.run(*command, "--url", "http://127.0.0.1:1/default", "--json")
            refused(result, 1, "http://default@127.0.0.1:1/", "raypipe doctor")

    def test_a_url_where_something_else_answers(self, project: Project) -> None:
        with proxy(project.endpoint, lambda _: (404, {"Content-Type": "text/html"}, b"<h1>Not Found</h1>")) as other:
            refused(project.run("runs", "--url", str(other), "--json"), 1, str(other), "HTTP port")

    def test_a_wrong_password(self, project: Project, tmp_path: Path) -> None:
        secret = tmp_path / "password"
        secret.write_text(CANARY)
        secret.chmod(0o600)
        text = "default: Authentication failed: password is incorrect. (AUTHENTICATION_FAILED)"
        with proxy(project.endpoint, failing("", 516, text)) as other:
            # The genuine endpoint takes any password, so there the refusal is played.
            at = project.endpoint if project.endpoint.password_file else other
            result = project.run("score", "churn", "--url", str(at), "--json", RAYPIPE_PASSWORD_FILE=str(secret))
        refused(result, 1, str(at), "AUTHENTICATION_FAILED", "RAYPIPE_PASSWORD", "password_file")
        assert CANARY not in result.output

    def test_a_password_file_that_is_missing_or_open_to_others(self, project: Project, tmp_path: Path) -> None:
        secret = tmp_path / "password"
        result = project.run("runs", "--json", RAYPIPE_PASSWORD_FILE=str(secret))
        assert result.exit_code == 2
        assert_error(result, 2)
        assert str(secret) in result.stderr
        secret.write_text(CANARY)
        secret.chmod(0o644)
        refused(project.run("runs", "--json", RAYPIPE_PASSWORD_FILE=str(secret)), 2, str(secret), "chmod 600")

    @pytest.mark.parametrize("command", [["score", "churn"], ["migrate"], ["demo"], ["runs"]])
    def test_a_server_too_old(self, project: Project, command: list[str]) -> None:
        def answer(statement: str) -> tuple[int, dict[str, str], bytes] | None:
            return (200, {}, b"23.8.2.7\tUTC\n") if "version()" in statement else None

        with proxy(project.endpoint, answer) as old:
            refused(project.run(*command, "--url", str(old), "--json"), 1, "23.8.2.7", "25.8 or newer", "upgrade")

    def test_a_database_that_does_not_exist(self, project: Project) -> None:
        elsewhere = replace(project.endpoint, database="raypipe_no_such_database")
        for command in (["score", "churn"], ["runs"], ["sql", "SELECT 1"]):
            result = project.run(*command, "--url", str(elsewhere), "--json")
            refused(result, 2, "raypipe_no_such_database", "raypipe migrate")

    @pytest.mark.parametrize("command", ["runs", "models"])
    def test_a_database_without_raypipes_tables(self, project: Project, command: str, database: Endpoint) -> None:
        refused(project.run(command, "--url", str(database), "--json"), 1, "UNKNOWN_TABLE", "raypipe migrate")

    def test_a_statement_that_cannot_be_understood(self, project: Project) -> None:
        error = refused(project.run("sql", "SELEC 1", "--json"), 1, "62", "SYNTAX_ERROR", "failed at position")
        assert "Expected one of" not in error

    def test_a_grant_that_is_missing_stops_a_plan(self, project: Project) -> None:
        text = "default: Not enough privileges. To execute this query, it's necessary to have the grant SELECT"
        with proxy(project.endpoint, failing("mergeTreeIndex|FROM `customer_user", 497, text)) as limited:
            result = project.run("plan", "churn", "--url", str(limited), "--json")
        refused(result, 1, "ACCESS_DENIED", "grant SELECT", "sql/grants.sql", "raypipe doctor")

    def test_a_grant_that_is_missing_in_the_middle_of_a_run_leaves_its_reason_and_nothing_else(
        self, project: Project, observer: Client, no_ray: None
    ) -> None:
        text = "default: Not enough privileges. To execute this query, it's necessary to have the grant CREATE TABLE"
        with proxy(project.endpoint, failing("CREATE TABLE .*raypipe_staging", 497, text)) as limited:
            result = project.run("score", "churn", "--url", str(limited), "--json")
        refused(result, 1, "ACCESS_DENIED", "grant CREATE TABLE", "sql/grants.sql")
        reasons = observer.rows("SELECT status, position(error, 'ACCESS_DENIED') > 0 FROM raypipe_runs FINAL")
        assert reasons == [("FAILED", 1)]
        observer.run("TRUNCATE TABLE raypipe_runs")

    def test_an_address_of_this_machine_on_a_ray_of_several(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nodes = [{"NodeManagerAddress": f"10.0.0.{n}", "Alive": True} for n in (1, 2)]
        monkeypatch.setattr(ray, "is_initialized", lambda: True)
        monkeypatch.setattr(ray, "nodes", lambda: nodes)
        result = project.run("score", "churn", "--json")
        refused(result, 2, str(project.endpoint), "2 nodes", "RAYPIPE_URL")


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """No Ray may be started: what is tested ends before a worker is needed."""

    def refuse(*_: object) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(connection, "connect", refuse)


class TestEmbedded:
    def test_a_folder_whose_owner_is_dead_is_taken_over(self, project: Project, tmp_path: Path) -> None:
        folder = Folder.create(tmp_path / "engine")
        folder.write_state(EngineState("http://127.0.0.1:1", 2**22 + 1))
        result = project.run("sql", "SELECT 1", "--url", f"chdb:{folder.root}", "--json")
        assert json.loads(result.stdout) == {"columns": ["1"], "rows": [[1]]}

    def test_a_folder_whose_owner_lives_and_does_not_answer(
        self, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(start, "ANSWER_SECONDS", 0.1)
        folder = Folder.create(tmp_path / "engine")
        folder.write_state(EngineState("http://127.0.0.1:1", os.getpid()))
        held = folder.lock("owner.lock", fcntl.LOCK_EX)
        assert held is not None
        try:
            result = project.run("plan", "churn", "--url", f"chdb:{folder.root}", "--json")
        finally:
            os.close(held)
        refused(result, 1, str(folder.root), "does not answer", f"process {os.getpid()}", "--url chdb:PATH")

    def test_a_folder_that_is_a_file(self, project: Project, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        result = project.run("runs", "--url", f"chdb:{tmp_path / 'file'}", "--json")
        assert result.exit_code == 2
        assert_error(result, 2)
        assert str(tmp_path / "file") in result.stderr

    def test_a_missing_extra(self, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lease, "PACKAGE", "no_such_package")
        result = project.run("runs", "--url", f"chdb:{tmp_path / 'engine'}", "--json")
        refused(result, 2, "no_such_package", "the extra `local`")
        assert not (tmp_path / "engine").exists()

    def test_a_server_is_not_served(self, project: Project) -> None:
        refused(project.run("server", "--json"), 2, str(project.endpoint), "chdb:PATH")


class TestLeaks:
    def test_a_feature_that_knows_the_label_keeps_a_version_from_promotion(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        project.edit("sql/churn/labels.sql", "SELECT\n", "SELECT toUInt8(days_since_last_session > 14) AS label, ")
        text = (project.folder / "sql/churn/labels.sql").read_text()
        (project.folder / "sql/churn/labels.sql").write_text(
            re.sub(r",\s+toUInt8\(\(company_id.*?\) AS label", "", text, flags=re.DOTALL)
        )
        monkeypatch.setattr(labelled, "_train", fit_here)
        monkeypatch.setattr(rivals, "decide", lambda *_, **__: Decision(True, "better than all", "auc"))
        loaded = load_pipeline(
            "churn", project.folder / "configs", ["label.horizon_days=1", "evaluate.bootstrap=5"], {}
        )
        with Client(project.endpoint) as client:
            recipe = recipes.recipe_of(client, loaded, date(2026, 2, 1))
            fitted = labelled.fit_version(client, recipe, "raypipe_training_leak", None, lambda *_: None)
        assert [text for text in fitted.warnings if text.startswith("days_since_last_session alone reaches AUC 1.0")]
        assert not fitted.decision.promote
        assert "days_since_last_session" in fitted.decision.reason


def fit_here(
    client: Client, recipe: Any, contract: Any, table: Any, rows: Any, progress: Any
) -> tuple[dict[str, bytes], Any]:
    """Fits in this process what Ray Train fits otherwise."""
    parts = {name: training_table.read_part(client, table, name) for name in table.rows}
    spec = FitSpec(contract.columns, contract.monotone, {}, rounds=3, kind="binary")
    model, history = XGBoost().fit(parts["train"], parts["validation"], spec)
    return model.files(), history


class TestDebug:
    def test_the_traceback_comes_only_where_it_was_asked_for_and_with_the_same_exit_code(
        self, project: Project
    ) -> None:
        result = project.run("plan", "chrun", "--json", "--debug")
        assert result.exit_code == 2
        assert_error(result, 2)
        assert "Traceback (most recent call last)" in result.stderr
        assert "error: There is no pipeline 'chrun'" in result.stderr

    @pytest.mark.parametrize("debug", [False, True])
    def test_a_bug_is_told_as_one(self, project: Project, monkeypatch: pytest.MonkeyPatch, debug: bool) -> None:
        def broken(*_: object, **__: object) -> None:
            raise ZeroDivisionError("oops")

        monkeypatch.setattr(plan, "plan", broken)
        result = project.run("plan", "churn", "--json", *(["--debug"] if debug else []))
        assert result.exit_code == 1
        assert_error(result, 1)
        assert "unexpected ZeroDivisionError: oops" in result.stderr
        assert ("Traceback" in result.stderr, "--debug" in result.stderr) == (debug, not debug)

    def test_ctrl_c_in_a_run_names_the_run_to_resume(
        self, project: Project, observer: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(gate, "check", interrupted)
        result = project.run("score", "churn", "--json")
        assert result.exit_code == 130
        (run,) = runs.listed(observer)
        observer.run("TRUNCATE TABLE raypipe_runs")
        for table in observer.rows(
            "SELECT name FROM system.tables WHERE name LIKE {like:String}", {"like": f"%{run.run_id}%"}
        ):
            observer.run(f"DROP TABLE {identifier(table[0])}")
        observer.run("TRUNCATE TABLE raypipe_slices")
        assert json.loads(result.stdout)["error"]["next_step"] == f"`raypipe resume {run.run_id}` finishes the run"

    def test_ctrl_c_says_what_to_do_and_exits_with_130(self, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(score, "score", interrupted)
        result = project.run("score", "churn", "--json")
        assert result.exit_code == 130
        assert_error(result, 130)
        assert "raypipe runs" in result.stderr
        assert "Traceback" not in result.stderr
