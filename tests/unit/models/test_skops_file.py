"""Test the allowed content of a skops file, and that a refused file imports and creates nothing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from raypipe.errors import ModelError
from raypipe.models import skops_file
from raypipe.models.protocol import FitSpec
from raypipe.models.sklearn import LogisticRegression as Family
from raypipe.models.sklearn import RandomForest
from raypipe.testing.model_suite import COLUMNS, rows

TRAIN = rows(binary=True)
SPEC = FitSpec(COLUMNS, rounds=20, seed=3, threads=1, kind="binary")
X, Y = np.nan_to_num(TRAIN.x), TRAIN.y


@pytest.fixture(scope="module")
def content() -> bytes:
    return Family().fit(TRAIN, TRAIN, SPEC)[0].files()["model.skops"]


def _with_schema(content: bytes, change: Any) -> bytes:
    """The file with its schema changed by `change`, in place."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source, zipfile.ZipFile(target, "w") as changed:
        for name in source.namelist():
            body = source.read(name)
            if name == "schema.json":
                schema = json.loads(body)
                change(schema)
                body = json.dumps(schema).encode()
            changed.writestr(name, body)
    return target.getvalue()


@pytest.mark.parametrize(
    ("pipeline", "named"),
    [
        # skops trusts both of itself, as scikit-learn's and NumPy's own.
        (make_pipeline(SGDClassifier(random_state=0)), r"_stochastic_gradient\.SGDClassifier"),
        (make_pipeline(FunctionTransformer(np.log1p), LogisticRegression()), "log1p"),
    ],
    ids=["estimator", "function"],
)
def test_a_real_file_with_a_foreign_type_is_refused_though_skops_trusts_it(pipeline: Any, named: str) -> None:
    foreign = skops.io.dumps(pipeline.fit(np.abs(X), Y))
    assert skops.io.loads(foreign, trusted=["numpy.dtype"]).predict(np.abs(X)).shape == Y.shape
    with pytest.raises(ModelError, match=named):
        Family().from_files({"model.skops": foreign})


LOAD_ELSEWHERE = """
import sys
from pathlib import Path
from raypipe.errors import ModelError
from raypipe.models.skops_file import load
try:
    load(Path(sys.argv[1]).read_bytes())
except ModelError as error:
    print(error.found, sorted({"intruder", "skops", "sklearn"} & set(sys.modules)))
"""


def test_a_foreign_module_is_refused_before_anything_is_imported(content: bytes, tmp_path: Path) -> None:
    def intrude(schema: dict[str, Any]) -> None:
        node = {"__class__": "Loss", "__module__": "intruder", "__loader__": "LossNode"}
        plain = {"__class__": "tuple", "__module__": "builtins", "__loader__": "TupleNode", "content": []}
        schema["content"]["content"]["verbose"] = {**node, "__reduce__": {"args": plain}, "content": plain}

    file = tmp_path / "model.skops"
    file.write_bytes(_with_schema(content, intrude))
    (tmp_path / "intruder.py").write_text("class Loss: pass\n")
    path = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-c", LOAD_ELSEWHERE, str(file)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout == "intruder.Loss by LossNode []\n", done.stderr


def test_a_listed_type_beside_a_loader_that_makes_another_is_refused(content: bytes) -> None:
    def disguise(schema: dict[str, Any]) -> None:
        schema["__loader__"] = "MethodNode"

    with pytest.raises(ModelError, match="MethodNode"):
        Family().from_files({"model.skops": _with_schema(content, disguise)})


def test_the_control_without_a_foreign_type_loads(content: bytes) -> None:
    again = Family().from_files({"model.skops": _with_schema(content, lambda schema: None)})
    assert np.array_equal(again.predict(TRAIN.x), Family().fit(TRAIN, TRAIN, SPEC)[0].predict(TRAIN.x))


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("family", [Family, RandomForest])
def test_a_truncated_file_is_refused(family: Any, share: float) -> None:
    whole = family().fit(TRAIN, TRAIN, SPEC)[0].files()["model.skops"]
    with pytest.raises(ModelError, match=r"model\.skops"):
        family().from_files({"model.skops": whole[: int(len(whole) * share)]})


@pytest.mark.parametrize(
    "garbage", [b"garbage", b"\x80\x04}\x94.", b"PK\x05\x06" + bytes(18)], ids=["text", "pickle", "zip"]
)
def test_what_is_no_skops_file_is_refused(garbage: bytes) -> None:
    with pytest.raises(ModelError, match=r"model\.skops"):
        Family().from_files({"model.skops": garbage})


def test_changed_bytes_inside_are_refused(content: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        place = max(archive.infolist(), key=lambda info: info.header_offset)
    broken = bytearray(content)
    broken[place.header_offset + 30 + len(place.filename) + 5] ^= 0xFF
    with pytest.raises(ModelError, match=r"model\.skops"):
        Family().from_files({"model.skops": bytes(broken)})


def test_a_schema_that_lacks_a_part_is_refused(content: bytes) -> None:
    for part in ("content", "protocol", "__loader__"):
        with pytest.raises(ModelError, match=r"model\.skops"):
            Family().from_files({"model.skops": _with_schema(content, lambda schema, part=part: schema.pop(part))})


def test_a_schema_without_end_is_refused(content: bytes) -> None:
    deep = b"[" * 200_000
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("schema.json", deep)
    with pytest.raises(ModelError, match=r"model\.skops"):
        Family().from_files({"model.skops": target.getvalue()})


def test_what_cannot_be_loaded_is_not_written() -> None:
    with pytest.raises(ModelError, match="SGDClassifier"):
        skops_file.dump(SGDClassifier(random_state=0).fit(X, Y))


def test_the_same_fit_gives_the_same_bytes(content: bytes) -> None:
    assert Family().fit(TRAIN, TRAIN, SPEC)[0].files()["model.skops"] == content


def test_skops_reads_the_file_without_raypipe(content: bytes) -> None:
    pipeline = skops.io.loads(content, trusted=["numpy.dtype"])
    model, _ = Family().fit(TRAIN, TRAIN, SPEC)
    assert np.allclose(pipeline.predict_proba(TRAIN.x)[:, 1], model.predict(TRAIN.x), atol=1e-6)
