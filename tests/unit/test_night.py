"""Test the steps of a night."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import Loaded, load_pipeline
from raypipe.errors import ConfigError
from raypipe.night import Step, _step, run_night
from raypipe.score import allocation

NOWHERE = Endpoint("http://127.0.0.1:9")


def written(folder: Path, name: str, after: str) -> Loaded:
    (folder / f"{name}.yaml").write_text(
        f"pipeline: {name}\nafter: {after}\nentity: {{type: user, keys: [user_id], id: user_id}}\n"
        "source: {table: user_days}\nlabel: {horizon_days: 7}\nfeatures: [sessions]\n"
        "publish: [{target: ml_model_predictions, sql: shared/predictions.sql}]\n"
    )
    return load_pipeline(name, folder, environ={})


def test_a_circle_is_told_before_anything_is_done(tmp_path: Path) -> None:
    circle = (("first", "second"), ("second", "first"))
    pipelines = {name: written(tmp_path, name, f"[{other}]") for name, other in circle}
    with pytest.raises(ConfigError, match="wait for each other"):
        next(run_night(NOWHERE, pipelines, None, "UTC", lambda stage, done, total: None))


@pytest.mark.parametrize(("after", "first"), [("[features]", "features"), ("[other]", "visits")])
def test_the_features_are_a_step_of_the_night_of_a_pipeline_that_names_them(
    tmp_path: Path, after: str, first: str
) -> None:
    pipelines = {"visits": written(tmp_path, "visits", after)}
    step = next(run_night(NOWHERE, pipelines, None, "UTC", lambda stage, done, total: None))
    assert (step.pipeline, step.status) == (first, "failed")


def test_what_nobody_expected_fails_its_pipeline_alone_and_leaves_its_traceback_to_debug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def work() -> Step:
        raise ZeroDivisionError("of a pipeline's own model")

    with caplog.at_level(logging.DEBUG, logger="raypipe"):
        step = _step("churn", work)
    assert (step.pipeline, step.status, step.run_id, step.date, step.rows_published) == (
        "churn",
        "failed",
        None,
        None,
        0,
    )
    assert step.reason == "an unexpected ZeroDivisionError: of a pipeline's own model"
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


def test_each_step_gives_its_memory_back_even_if_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[str] = []
    monkeypatch.setattr(allocation, "give_back", lambda: given.append("back"))

    def broken() -> Step:
        raise ValueError("a fault")

    assert _step("churn", lambda: Step("churn", "done")).status == "done"
    assert _step("clicks", broken).status == "failed"
    assert given == ["back", "back"]
