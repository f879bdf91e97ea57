"""Test what raypipe replaces in Ray, with and without the parts that it replaces."""

from __future__ import annotations

import importlib
import sys

import pytest
import ray._private

from raypipe.cluster import quirks


def test_a_ray_without_these_internals_is_left_unchanged(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.delattr(ray._private, "services")
        patch.setitem(sys.modules, "ray._private.services", None)
        importlib.reload(quirks)
        assert quirks.services is None
        with quirks.quiet_start():
            quirks.keep_off_stdout()
    importlib.reload(quirks)
    assert quirks.services is not None
