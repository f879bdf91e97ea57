"""Test whole runs whose compiled trees differ from XGBoost: they publish the answer of one predictor, XGBoost's."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from raypipe.artifact.contract import MATRIX, matrix
from raypipe.artifact.package import load_package
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.data.slices import unsliced
from raypipe.errors import ModelError, PredictorDiffers
from raypipe.models.model import FloatArray
from raypipe.models.trees import compared
from raypipe.models.trees.compiled import CompiledTrees
from raypipe.score import ledger, one_predictor, worker
from raypipe.score.manifest import Manifest
from raypipe.score.one_predictor import by_one_predictor
from raypipe.score.run import PublishedRun
from tests.faults import few
from tests.faults.oracle import in_process

pytest.importorskip("llvmlite")
USERS = 6000


@pytest.fixture(scope="module")
def readers(endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory) -> Iterator[few.Night]:
    """Provide a publisher with enough readers for some slices."""
    with few.few_readers(endpoint, tmp_path_factory.mktemp("readers"), users=USERS) as made:
        yield made


@pytest.fixture
def night(readers: few.Night, monkeypatch: pytest.MonkeyPatch) -> few.Night:
    """Let compiled trees score all the same, although the population is too small for them."""
    monkeypatch.setattr(one_predictor, "COMPILED_FROM", 1)
    readers.empty()
    return readers


@pytest.fixture
def differing(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Provide a fault: compiled trees differ, by more than the tolerance, from a call on."""
    real, calls = CompiledTrees.predict, [0]

    def install(first: int) -> None:
        def predict(self: CompiledTrees, x: FloatArray, threads: int) -> FloatArray:
            calls[0] += 1
            return real(self, x, threads) * np.float32(1.01 if calls[0] >= first else 1)

        monkeypatch.setattr(CompiledTrees, "predict", predict)

    return install


def scored(night: few.Night, manifest: Manifest) -> tuple[Manifest, PublishedRun[Any]]:
    return by_one_predictor(
        manifest, False, lambda manifest, take_over: in_process(night.publisher, manifest, take_over=take_over)
    )


def predictors(night: few.Night, manifest: Manifest) -> set[str]:
    return {receipt.predictor for receipt in ledger.receipts(night.client, manifest.run_id)}


def largest_difference(night: few.Night, manifest: Manifest) -> float:
    """Compare the published scores with the answer of XGBoost by key."""
    rows = night.client.table(unsliced(manifest.select), manifest.select_parameters)
    package = load_package(manifest.artifact_uri, manifest.artifact_sha256, night.client)
    scores = package.model.predict(matrix(rows.column(MATRIX), len(package.contract.columns)))
    expected = dict(zip(rows.column("user_id").to_pylist(), scores.tolist(), strict=True))
    sql = "SELECT entity_id, prediction_probability FROM raypipe_current_predictions"
    published = dict(night.client.rows(sql))
    assert published.keys() == expected.keys()
    return max(abs(score - published[key]) for key, score in expected.items())


@pytest.mark.fast
def test_compiled_trees_score_a_run_as_xgboost_does(night: few.Night) -> None:
    manifest = night.plan()
    scored(night, manifest)
    night.assert_exact(manifest)
    assert predictors(night, manifest) == {"compiled"}
    assert largest_difference(night, manifest) <= 1e-6


@pytest.mark.fast
def test_a_small_population_is_scored_by_the_library(daily: few.Night) -> None:
    manifest = daily.plan()
    scored(daily, manifest)
    assert predictors(daily, manifest) == {"library"}


@pytest.mark.parametrize("first", [1, 2, 4], ids=["golden rows", "first slice", "third slice"])
def test_a_difference_has_the_library_score_the_whole_run(
    first: int, night: few.Night, differing: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    manifest = night.plan()
    assert len(manifest.slicing.slices) > 3
    differing(first)
    with caplog.at_level(logging.WARNING):
        held, _ = scored(night, manifest)
    night.assert_exact(manifest)
    assert predictors(night, manifest) == {"library"}
    assert largest_difference(night, manifest) <= 1e-6
    assert "rows differ, by up to" in caplog.text
    assert not held.compiled
    assert not json.loads(night.find(manifest).manifest)["compiled"]


def test_without_the_comparison_a_difference_is_published(
    night: few.Night, differing: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compared, "COMPARED_ROWS", 0)
    manifest = night.plan()
    # The golden rows are the first call; their own tolerance would see a fault of this size.
    differing(2)
    scored(night, manifest)
    assert largest_difference(night, manifest) > 1e-4


@pytest.mark.fast
def test_a_resumed_run_keeps_to_the_library(night: few.Night, differing: Callable[[int], None]) -> None:
    manifest = night.plan()
    differing(3)
    with pytest.raises(PredictorDiffers):
        in_process(night.publisher, manifest)
    assert predictors(night, manifest) == {"compiled"}
    library = replace(manifest, compiled=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worker.SliceScorer, "score", _failing_at(2))
        with pytest.raises(ModelError, match="the node died"):
            in_process(night.publisher, library)
    resumed = Manifest.from_json(night.find(manifest).manifest)
    assert not resumed.compiled
    scored(night, resumed)
    night.assert_exact(manifest)
    assert predictors(night, manifest) == {"library"}


def test_a_node_without_llvm_has_the_library_score_the_whole_run(
    night: few.Night, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = night.plan()
    _half_without_llvm(monkeypatch)
    scored(night, manifest)
    night.assert_exact(manifest)
    assert predictors(night, manifest) == {"library"}


@pytest.mark.fast
def test_without_the_gates_check_two_predictors_score_a_run(night: few.Night, monkeypatch: pytest.MonkeyPatch) -> None:
    from raypipe.score import gate

    monkeypatch.setattr(gate, "_by_one_predictor", lambda written: None)
    manifest = night.plan()
    _half_without_llvm(monkeypatch)
    scored(night, manifest)
    assert predictors(night, manifest) == {"library", "compiled"}


def _half_without_llvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report the first slice of a process as a node does that cannot compile."""
    real, left = worker.predictor, ["library"]
    monkeypatch.setattr(worker, "predictor", lambda model: left.pop() if left else real(model))


def _failing_at(slice_number: int) -> Callable[..., ledger.Receipt]:
    real = worker.SliceScorer.score

    def score(self: worker.SliceScorer, piece: worker.Slice) -> ledger.Receipt:
        if piece.index == slice_number:
            raise ModelError("the node died")
        return real(self, piece)

    return score
