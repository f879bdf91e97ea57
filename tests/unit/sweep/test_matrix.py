"""Test the cells of a matrix: refusals before the first sweep, and failures during one."""

from __future__ import annotations

from pathlib import Path

import pytest

from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import UsageError
from raypipe.progress import silent
from raypipe.sweep import matrix
from raypipe.sweep.matrix import load_cells


def written(folder: Path, text: str) -> Path:
    path = folder / "cells.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("pipeline", ["ads", "baselines"])
def test_a_pipeline_without_trials_is_refused(tmp_path: Path, pipeline: str) -> None:
    path = written(tmp_path, f"pipelines: [churn, {pipeline}]\n")
    with pytest.raises(UsageError, match=f"{pipeline} .* nothing to sweep"):
        load_cells(path, None, [], None, {})


def test_cells_of_two_connections_are_refused(tmp_path: Path) -> None:
    models = "{here: {}, there: {connection.url: 'http://other:8123/analytics'}}"
    path = written(tmp_path, f"pipelines: [churn]\nmodels: {models}\n")
    with pytest.raises(UsageError, match="different connections") as refused:
        load_cells(path, None, [], None, {})
    assert "churn × there: http://other:8123/analytics" in str(refused.value.found)
    assert len(load_cells(path, None, ["connection.url=http://h:1/d"], None, {})) == 2


def test_a_fault_of_one_cell_is_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("no rounds")

    monkeypatch.setattr(matrix, "sweep_pipeline", broken)
    ((cell, loaded),) = load_cells(written(tmp_path, "pipelines: [churn]\n"), None, [f"artifacts={tmp_path}"], None, {})
    endpoint = Endpoint.parse("http://127.0.0.1:9/nobody")
    document = matrix._sweep_cell(endpoint, cell, loaded, "cells_0", silent, None, resume=False)
    assert document["status"] == "failed"
    assert document["error"] == "an unexpected ZeroDivisionError: no rounds"
