"""Test the doctor's checks that need no server."""

from __future__ import annotations

from pathlib import Path

import pytest

from raypipe import doctor
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.schema.needed import Needed


@pytest.mark.parametrize(
    ("installed", "status"),
    [(None, "problem"), ("2.59.1", "problem"), ("2.60.0", "ok"), ("2.63.2", "ok"), ("2.64.0", "problem")],
)
def test_a_ray_that_raypipe_does_not_support_is_a_problem(
    monkeypatch: pytest.MonkeyPatch, installed: str | None, status: str
) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda _: installed)
    check = doctor._ray()
    assert check.status == status
    assert ("pip install" in check.next_step) == (status == "problem")


def test_the_advice_installs_a_supported_ray() -> None:
    (first, second), (third, fourth) = doctor.RAY_VERSIONS
    assert doctor.INSTALL_RAY.endswith(f">={first}.{second},<{third}.{fourth}'")


def test_a_password_file_that_cannot_be_read_is_a_problem_and_the_machine_is_still_examined(tmp_path: Path) -> None:
    endpoint = Endpoint("http://127.0.0.1:9", password_file=str(tmp_path / "absent"))
    checks = {check.name: check for check in doctor.examine(endpoint, Needed(()))}
    assert checks["connection"].status == "problem"
    assert "The password file" in checks["connection"].detail
    assert checks["Ray"].status == "ok"
