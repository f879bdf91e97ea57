"""One thing has one name in every JSON document that docs/commands.md shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PAGE = (Path(__file__).parents[3] / "docs" / "commands.md").read_text(encoding="utf-8")
DOCUMENTS = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
# Another name of a thing, and the name that it has.
OTHERS = {
    "version": "model_version",
    "said": "reason",
    "outgoing": "replaced",
    "previous": "replaced",
    "duration": "seconds",
    "day": "date",
    "size": "bytes",
    "sha256": "artifact_sha256",
    "message": "reason or warnings",
}


def _keys(value: Any, path: str = "") -> Iterator[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, below in items:
        here = path if isinstance(value, list) else f"{path}.{key}"
        yield here
        yield from _keys(below, here)


@pytest.mark.parametrize("name", OTHERS)
def test_no_document_calls_a_thing_by_another_name(name: str) -> None:
    assert len(DOCUMENTS) > 20
    # MLflow's own names, and the sentence of a hazard.
    foreign = {".mlflow.version", ".tables.hazards.message"}
    assert [key for document in DOCUMENTS for key in _keys(document) if key.endswith(f".{name}")] == sorted(
        key for key in foreign if key.endswith(f".{name}")
    )
