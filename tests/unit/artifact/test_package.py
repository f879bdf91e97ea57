"""Test that an artifact's files become a model again in another process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from raypipe.artifact import files
from raypipe.artifact.bins import Bins, ColumnBins
from raypipe.artifact.contract import Contract
from raypipe.artifact.package import Package, load_card, load_package, pack
from raypipe.errors import ModelError
from raypipe.models.model import Matrix
from raypipe.models.protocol import FitSpec, load_family
from tests.artifacts import as_format_1

FAMILY = "raypipe.models.xgboost:XGBoost"
PROGRAM = """
import json, sys
from raypipe.artifact.package import load_package
package = load_package(sys.argv[1], sys.argv[2], None, only_scores=json.loads(sys.argv[3]))
loaded = sorted({"sklearn", "pandas", "xgboost"} & set(sys.modules))
import sklearn.base, pandas
print(json.dumps(loaded))
"""


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> files.Artifact:
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    rows = Matrix(x, (x[:, 0] > 0).astype(np.float32))
    spec = FitSpec(("a", "b", "c"), rounds=3, kind="binary")
    model, _ = load_family(FAMILY).fit(rows, rows, spec)
    contract = Contract(("user",), ("String",), (), (), ())
    bins = Bins((), ColumnBins((0.5,), (0.5, 0.5, 0.0), (0.25, 0.75), (0,)), 1, {}, {})
    package = Package(FAMILY, contract, bins, 0.5, (("low", 0.5), ("high", 1.0)), model)
    return files.save(str(tmp_path_factory.mktemp("artifacts")), pack(package, x, {}))


@pytest.mark.parametrize(("only_scores", "expected"), [(True, ["xgboost"]), (False, ["pandas", "sklearn", "xgboost"])])
def test_a_process_that_only_scores_does_not_load_what_its_model_does_without(
    artifact: files.Artifact, only_scores: bool, expected: list[str]
) -> None:
    command = [sys.executable, "-c", PROGRAM, artifact.uri, artifact.sha256, json.dumps(only_scores)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path.cwd())
    # The program imports both itself afterwards: nothing stays hidden.
    assert json.loads(done.stdout) == expected


def test_an_artifact_of_the_earlier_format_is_refused_by_name(artifact: files.Artifact, tmp_path: Path) -> None:
    earlier = as_format_1(files.load(artifact.uri, artifact.sha256), tmp_path)
    for load in (load_card, load_package):
        with pytest.raises(ModelError, match=r"artifact of churn 20260131\.a was written by another") as refused:
            load(earlier.uri, earlier.sha256, None, pipeline="churn", version="20260131.a")
        assert f"format 1, model class raypipe.models.kmeans:KMeans, in {earlier.uri}" in str(refused.value)
        assert "`raypipe fit churn`" in str(refused.value)
