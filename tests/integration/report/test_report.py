"""Test the report, the published rows and the followed runs of a small database, and of an empty one."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from raypipe.cli import app
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.migrate import migrate_at
from raypipe.report import following
from raypipe.score import runs

EVIL = "<img src=x onerror=alert(1)>"


def invoked(registered_model: Any, *arguments: str, as_json: bool = True) -> Result:
    environment = {"RAYPIPE_URL": str(registered_model.endpoint), "RAYPIPE_ARTIFACTS": str(registered_model.artifacts)}
    if registered_model.endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = registered_model.endpoint.password_file
    options = ["--config", str(registered_model.project / "configs"), *(["--json"] if as_json else [])]
    result = CliRunner().invoke(app, [*arguments, *options], env=environment)
    assert result.exit_code == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def scored(registered_model: Any) -> Any:
    """Publish churn's newest snapshot, and give its brand and a reader a name."""
    with Client(registered_model.endpoint) as client:
        client.run("INSERT INTO brands (brand_id, brand_name) VALUES ('b', {name:String})", {"name": EVIL})
        client.run("INSERT INTO users (user_id, display_name) VALUES ('u5', 'Kit Hale')")
    invoked(registered_model, "score", "churn", "--set", "score.explain.rows=20", "--set", "score.slice_rows=100")
    return registered_model


def test_the_report_of_a_night_says_that_it_is_complete(scored: Any, tmp_path: Path) -> None:
    found = json.loads(invoked(scored, "report", "churn", "--out", str(tmp_path / "new" / "report")).stdout)
    assert found["pages"] == ["index.html", "churn.html", "data.html"]
    index = Path(found["report"]).read_text(encoding="utf-8")
    assert "1 pipeline published 300 rows for 31 Jan 2026" in index
    page = (Path(found["report"]).parent / "churn.html").read_text(encoding="utf-8")
    assert "Outcomes of the newest predictions, 31 Jan 2026, are known after 2 Mar 2026." in page
    assert "Distribution of the scores" in page
    assert "moves the score by" in page
    for html in (index, page):
        assert "<img" not in html
        assert not re.search(r'="[^"]*\b(NaN|inf|None)\b', html)
    assert "&lt;img src=x" in page
    assert found["bytes"] == sum(file.stat().st_size for file in Path(found["report"]).parent.iterdir())


def test_the_performance_of_another_tool_is_not_the_models(scored: Any, tmp_path: Path) -> None:
    row = {"pipeline": "churn", "date": date(2026, 1, 1), "kind": "measured", "metric": "auc", "rows": 300}
    with Client(scored.endpoint) as client:
        client.insert_rows("raypipe_performance", [{**row, "run_id": "", "value": 0.1234}])
        invoked(scored, "report", "churn", "--out", str(tmp_path))
        assert "0.123" not in (tmp_path / "churn.html").read_text(encoding="utf-8")
        client.insert_rows("raypipe_performance", [{**row, "run_id": "r", "value": 0.8765}])
    invoked(scored, "report", "churn", "--out", str(tmp_path))
    page = (tmp_path / "churn.html").read_text(encoding="utf-8")
    assert ("0.123" in page, "0.876" in page or "0.877" in page) == (False, True)


def test_a_report_can_be_written_again_over_the_last(scored: Any, tmp_path: Path) -> None:
    for _ in range(2):
        invoked(scored, "report", "churn", "--out", str(tmp_path))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["churn.html", "data.html", "index.html"]


def test_a_report_is_refused_where_it_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = CliRunner().invoke(app, ["report", "--out", str(tmp_path / "file"), "--url", "http://127.0.0.1:9/nobody"])
    assert result.exit_code == 2
    assert "cannot be written there" in result.stderr


def test_an_empty_database_has_a_report_in_words(registered_model: Any, database: Endpoint, tmp_path: Path) -> None:
    migrate_at(database)
    invoked(registered_model, "report", "churn", "--out", str(tmp_path), "--url", str(database))
    index, page = ((tmp_path / name).read_text(encoding="utf-8") for name in ("index.html", "churn.html"))
    assert "No run yet." in index
    for words in ("There is no model yet.", "no version was champion yet", "Nothing is published yet."):
        assert words in page, words


def test_published_rows_have_names_and_the_highest_scores_first(scored: Any) -> None:
    found = json.loads(invoked(scored, "show", "churn", "--limit", "7").stdout)
    assert (found["date"], len(found["rows"])) == ("2026-01-31", 7)
    scores = [row["churn_probability"] for row in found["rows"]]
    assert scores == sorted(scores, reverse=True)
    assert {row["brand_name"] for row in found["rows"]} == {EVIL}
    shown = invoked(scored, "show", "churn", as_json=False).stdout
    assert "20 of 300 published rows" in shown
    assert "company" not in shown


def test_the_rows_of_one_key_are_shown_or_refused(scored: Any) -> None:
    (row,) = json.loads(invoked(scored, "show", "churn", "--key", "u5").stdout)["rows"]
    assert row["user_id"] == "u5"
    environment = {"RAYPIPE_URL": str(scored.endpoint), "RAYPIPE_PASSWORD_FILE": scored.endpoint.password_file or ""}
    options = ["--config", str(scored.project / "configs")]
    result = CliRunner().invoke(app, ["show", "churn", "--key", "nobody", *options], env=environment)
    assert result.exit_code == 2
    assert "no row with user_id = nobody" in result.stderr
    result = CliRunner().invoke(app, ["show", "churn", "--date", "2025-01-01", *options], env=environment)
    assert result.exit_code == 2
    assert "2026-01-31" in result.stderr


def test_rows_that_are_not_committed_are_not_shown(scored: Any) -> None:
    with Client(scored.endpoint) as client:
        run = runs.listed(client, "churn")[0]
        client.run(
            "INSERT INTO ml_model_predictions (prediction_type, entity_id, prediction_date, predicted_at, batch_id)"
            " SELECT 'churn', 'stray', {date:Date}, now(), concat({run:String}, 'x')",
            {"date": run.date, "run": run.run_id},
        )
    found = json.loads(invoked(scored, "show", "churn", "--limit", "1000").stdout)
    assert len(found["rows"]) == 300


def test_a_finished_run_is_followed_until_nothing_is_at_work(scored: Any) -> None:
    with Client(scored.endpoint) as client:
        (work,) = next(iter(following.follow(client, quiet=0.0)))
        assert (work.pipeline, work.stage, work.is_at_work) == ("churn", "published", False)
        assert (work.slices_done, work.rows_done) == (work.slices, 300)


def test_a_run_at_work_shows_its_pace_and_the_time_that_is_left(scored: Any) -> None:
    with Client(scored.endpoint) as client:
        run = runs.listed(client, "churn")[0]
        began = datetime.now(UTC)
        receipt = json.dumps({"started_at": began.timestamp(), "attempt": 1})
        row = {"run_id": "half", "slice": 0, "rows_read": 100, "receipt": receipt}
        client.insert_rows("raypipe_slices", [row])
        half = {
            **vars(run),
            "run_id": "half",
            "pipeline": "ads",
            "status": runs.RUNNING,
            "started_at": began,
            "slices": 3,
        }
        client.insert_rows("raypipe_runs", [half])
        try:
            (work,) = following.current(client, began + timedelta(seconds=10), "ads")
            assert (work.stage, work.slices_done, work.slices) == ("score", 1, 3)
            assert work.rows_per_second == pytest.approx(10.0)
            assert work.seconds_left == pytest.approx(20.0)
            # No lock: the process is gone.
            assert not work.is_alive
        finally:
            client.run("DELETE FROM raypipe_runs WHERE run_id = 'half'")


def test_logs_and_progress_are_json_on_request(scored: Any, tmp_path: Path) -> None:
    result = invoked(scored, "report", "churn", "--out", str(tmp_path), "--log-json")
    lines = [json.loads(line) for line in result.stderr.splitlines()]
    assert {line["message"] for line in lines} == {"progress"}
    assert {"time", "level", "stage", "done", "total", "seconds"} <= lines[0].keys()


def test_a_run_and_a_version_show_themselves_in_a_notebook(scored: Any) -> None:
    from raypipe.registry import models

    with Client(scored.endpoint) as client:
        run, version = runs.listed(client, "churn")[0], models.find(client, "churn", "champion")
    assert "300" in run._repr_html_()
    assert version.version in version._repr_html_()
