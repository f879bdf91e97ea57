"""Test a recommender's files: the same recommendations after loading, and refused broken files."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from raypipe.artifact import files
from raypipe.errors import ConfigError, ModelError
from raypipe.recommend.parameters import PARTS, HybridParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import ITEMS, PARAMETERS, from_files, to_files
from tests.unit.recommend.readers import AT, PARAMS, fitted, users

FILES = to_files(fitted())
AUDIENCE = users(("brand 0", "", {"a1": 1.0, "a5": 1.0}), ("brand 1", "topic 2", {}))


def test_the_recommender_survives_its_files() -> None:
    one, again = (Ranker(found, at=AT).rank(AUDIENCE) for found in (fitted(), from_files(FILES)))
    assert np.array_equal(one.items, again.items)
    assert np.array_equal(one.scores, again.scores)
    assert to_files(from_files(FILES)) == FILES


def test_a_recommender_without_content_survives_too() -> None:
    bare = fitted(replace(PARAMS, content=0.0, content_width=0))
    again = from_files(to_files(bare))
    assert np.array_equal(Ranker(bare, at=AT).rank(AUDIENCE).items, Ranker(again, at=AT).rank(AUDIENCE).items)


def test_the_files_can_be_an_artifact(tmp_path: object) -> None:
    artifact = files.save(str(tmp_path), FILES)
    assert files.load(artifact.uri, artifact.sha256) == FILES


def table() -> pa.Table:
    return pa.ipc.open_file(FILES[ITEMS]).read_all()


def arrow(changed: pa.Table) -> dict[str, bytes]:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, changed.schema) as writer:
        writer.write_table(changed)
    return {**FILES, ITEMS: sink.getvalue().to_pybytes()}


def with_column(name: str, values: pa.Array) -> dict[str, bytes]:
    return arrow(table().set_column(table().schema.get_field_index(name), name, values))


def described(change: Callable[[dict], None]) -> dict[str, bytes]:
    content = json.loads(FILES[PARAMETERS])
    change(content)
    return {**FILES, PARAMETERS: json.dumps(content).encode()}


def beyond_the_end() -> pa.Array:
    """Category ids of which one ends where the column has no bytes any more."""
    _, ends, letters = table().column("category_id").combine_chunks().buffers()
    offsets = np.frombuffer(ends, np.int32)[: len(table()) + 1].copy()
    offsets[5] += 1 << 20
    return pa.Array.from_buffers(pa.string(), len(table()), [None, pa.py_buffer(offsets.tobytes()), letters])


def popularity(value: float | None) -> pa.Array:
    return pa.array([value, *table().column("popularity").to_pylist()[1:]], pa.float32())


BROKEN = {
    "no items": {PARAMETERS: FILES[PARAMETERS]},
    "no parameters": {ITEMS: FILES[ITEMS]},
    "an empty file": {**FILES, ITEMS: b""},
    "a text that ends beyond its column": with_column("category_id", beyond_the_end()),
    "a cut file": {**FILES, ITEMS: FILES[ITEMS][: len(FILES[ITEMS]) // 2]},
    "not Arrow": {**FILES, ITEMS: b"\x80\x04K\x01."},
    "not JSON": {**FILES, PARAMETERS: b"{"},
    "JSON of another kind": {**FILES, PARAMETERS: b"[]"},
    "no parameters in it": described(lambda content: content.pop("params")),
    "an unknown parameter": described(lambda content: content["params"].update(speed=1)),
    "a parameter of another kind": described(lambda content: content["params"].update(als="much")),
    "no factors in the parameters": described(lambda content: content["params"]["factorisation"].update(factors=4)),
    "content of another width": described(lambda content: content["params"].update(content_width=4)),
    "a missing column": arrow(table().drop_columns("factors")),
    "a column of another type": with_column("popularity", pa.array(["1"] * 160)),
    "a missing value": with_column("popularity", popularity(None)),
    "a value that is not finite": with_column("popularity", popularity(float("nan"))),
    "an article twice": with_column("article_id", pa.array(["a0"] * 160)),
    "no rows": arrow(table().slice(0, 0)),
}


@pytest.mark.parametrize("files", BROKEN.values(), ids=BROKEN.keys())
def test_broken_files_are_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ModelError):
        from_files(files)


def test_parameters_come_from_a_mapping_and_unknown_ones_are_named() -> None:
    found = HybridParameters.from_mapping({"als": 0.5, "factorisation": {"factors": 16}})
    assert (found.als, found.factorisation.factors) == (0.5, 16)
    with pytest.raises(ConfigError, match="speed"):
        HybridParameters.from_mapping({"factorisation": {"speed": 1}})
    with pytest.raises(ConfigError, match="above 0"):
        HybridParameters.from_mapping(dict.fromkeys(PARTS, 0))
    with pytest.raises(ConfigError, match="freshness_half_life_days above 0"):
        HybridParameters.from_mapping({"freshness_half_life_days": 0})
