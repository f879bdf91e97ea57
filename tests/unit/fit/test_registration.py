"""Test the versions that a fit records."""

from __future__ import annotations

import pytest

import raypipe
from raypipe.fit.registration import environment


def test_the_environment_names_the_version_of_raypipe_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(raypipe, "__version__", "9.9.9")
    assert environment()["raypipe"] == "9.9.9"
