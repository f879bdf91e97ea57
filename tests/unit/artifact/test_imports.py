"""Test modules that are hidden from imports."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path

import pytest

from raypipe.artifact.imports import without

RARE = "a_rare_module"


@pytest.fixture
def rare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / f"{RARE}.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, RARE, raising=False)
    return RARE


def test_a_hidden_module_seems_not_to_be_installed_inside_and_is_there_behind(rare: str) -> None:
    with without(rare), pytest.raises(ModuleNotFoundError, match="left out"):
        import_module(rare)
    assert import_module(rare)


def test_another_thread_imports_a_module_that_this_thread_hides(rare: str) -> None:
    with without(rare), ThreadPoolExecutor(1) as pool:
        assert pool.submit(import_module, rare).result()
