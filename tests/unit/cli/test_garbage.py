"""Test that the command line leaves Python's garbage collector little to do."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from importlib import import_module

import pytest

# The package has a function of the same name.
command_line = import_module("raypipe.cli.main")


@pytest.fixture
def collector() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


@pytest.mark.usefixtures("collector")
def test_neither_imports_nor_the_exit_are_searched_for_garbage(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[tuple[int, int, int], int]] = []

    def app(*, prog_name: str) -> None:
        seen.append((gc.get_threshold(), gc.get_freeze_count()))
        raise SystemExit(3)

    monkeypatch.setattr(command_line, "app", app)
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert ended.value.code == 3
    ((thresholds, frozen),) = seen
    assert thresholds[0] >= 10_000
    # What is frozen is not searched again, at the exit neither.
    assert gc.get_freeze_count() > frozen + 10_000
