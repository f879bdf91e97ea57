"""Test that a run on one machine imports and starts nothing that it does not need."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

PROGRAM = """
import atexit, sys
from raypipe.cli import main
atexit.register(lambda: print(*sys.modules, sep="\\n", file=sys.stderr))
main()
"""
UNNEEDED = {"ray", "pandas", "sklearn", "optuna", "matplotlib", "raypipe.fit.trainer", "raypipe.score.pool"}


@pytest.mark.parametrize("words", [("score", "churn"), ("nightly", "--only", "churn")], ids=" ".join)
def test_a_run_needs_no_ray_and_no_library_but_the_models(registered_model: Any, words: tuple[str, ...]) -> None:
    environment = {**os.environ, "RAYPIPE_URL": str(registered_model.endpoint)}
    if registered_model.endpoint.password_file:
        environment["RAYPIPE_PASSWORD_FILE"] = registered_model.endpoint.password_file
    options = [
        "--config",
        str(registered_model.project / "configs"),
        "--set",
        f"artifacts={registered_model.artifacts}",
    ]
    options += ["--date", registered_model.day.isoformat(), "--set", "after=[]"] if words[0] == "nightly" else []
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    imported = set(done.stderr.splitlines())
    assert {"raypipe.score.threads", "xgboost"} <= imported
    # A nightly leaves pandas to pyarrow, as a fit may need it.
    assert imported & (UNNEEDED - ({"pandas"} if words[0] == "nightly" else set())) == set()
