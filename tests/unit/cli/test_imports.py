"""Test that commands leave out the modules that they do not need, each of which takes a part of a second."""

from __future__ import annotations

import subprocess
import sys

import pytest

# The client of ClickHouse and the configuration; a command that does nothing needs neither.
HEAVY = {"clickhouse_connect", "numpy", "pyarrow", "pydantic", "raypipe.clickhouse", "raypipe.config"}
LIBRARIES = {"ray", "pandas", "sklearn", "scipy", "xgboost", "optuna", "skops", "matplotlib"}
REPORTED = "import sys; {statement}; print('\\n'.join(sys.modules))"


def modules(statement: str) -> set[str]:
    """Return the modules that a process has imported after a statement."""
    program = REPORTED.format(statement=statement)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines())


def test_the_help_imports_neither_a_client_nor_a_command() -> None:
    help_text = "from typer.testing import CliRunner; from raypipe.cli import app; CliRunner().invoke(app, ['--help'])"
    imported = modules(help_text)
    assert "raypipe.cli.main" in imported
    assert imported & (HEAVY | LIBRARIES) == set()
    assert "raypipe.cli.score" not in imported


def test_a_command_imports_no_other_command() -> None:
    of_runs = modules("from raypipe.cli.main import app; import typer; typer.main.get_command(app).commands['runs']")
    assert {"raypipe.cli.runs", "raypipe.clickhouse.client"} <= of_runs
    assert {"raypipe.cli.explore", "raypipe.cli.score"} & of_runs == set()


@pytest.mark.parametrize("module", ["raypipe.score.score", "raypipe.fit.fit", "raypipe.night", "raypipe.proof.verify"])
def test_no_library_of_models_and_no_ray_is_imported_before_it_is_needed(module: str) -> None:
    imported = modules(f"import {module}; from raypipe.artifact import imports; imports.arrow_without_pandas()")
    # Pages are for `raypipe report` and for notebooks.
    assert imported & (LIBRARIES | {"raypipe.pages"}) == set()


def test_without_hiding_it_pyarrow_imports_pandas() -> None:
    assert "pandas" in modules("import pyarrow; pyarrow.scalar(0)")
