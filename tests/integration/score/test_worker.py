"""Test what the attempts at one slice reject and stage, without Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import key_hash
from raypipe.artifact.package import Package
from raypipe.errors import ServerError
from raypipe.score import ledger, staging, worker
from raypipe.score.worker import _Attempt
from tests.integration.conftest import FEATURES, KEYS

FIRST = 10


@dataclass
class NothingForTheFirst:
    """A model that has no score for the first reader, and one half for everybody else."""

    def predict(self, x: Any) -> Any:
        return np.where(x[:, 0] == FIRST, np.nan, 0.5).astype(np.float32)


def attempt(run: Any, order: str) -> _Attempt:
    """An attempt at the first slice, which reads its rows in an order."""
    select = (
        f"SELECT company_id, brand_id, user_id, sessions, {key_hash(KEYS)} AS key_hash, [toFloat32(sessions)] AS x"
        f" FROM (\n{FEATURES}\n) ORDER BY user_id {order}"
    )
    manifest = run.with_manifest(select=select).manifest
    x = np.array([[FIRST]], dtype=np.float32)
    package = SimpleNamespace(
        model=NothingForTheFirst(), contract=SimpleNamespace(columns=("sessions",)), bins=fit_bins(x, x[:, 0])
    )
    return _Attempt(run.client, manifest, cast(Package, package), manifest.slicing.slices[0], 1)


def test_what_an_attempt_set_aside_that_died_does_not_count_beside_the_next_in_another_order(
    scoring: Callable[..., Any],
) -> None:
    run = scoring()
    with pytest.raises(ServerError, match="raypipe_staging"):
        attempt(run, "ASC").run()
    counted = f"SELECT entity, row FROM raypipe_counted_rejections WHERE run_id = '{run.manifest.run_id}'"
    assert run.client.rows(counted) == []
    staging.create(run.client, run.manifest)
    receipt = attempt(run, "DESC").run()
    ledger.record(run.client, run.manifest.run_id, receipt)
    found = run.client.rows(counted)
    assert [(json.loads(entity)["user_id"], row) for entity, row in found] == [("u0", 4)]
    assert len(found) == receipt.rows_rejected == 1
    assert run.client.value("SELECT count() FROM raypipe_rejected_rows FINAL") == 2


def test_a_chunk_with_other_content_is_not_taken_for_the_chunk_of_an_earlier_attempt(
    scoring: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two attempts that draw one number.
    monkeypatch.setattr(worker.secrets, "randbits", lambda _: 7)
    run = scoring()
    staging.create(run.client, run.manifest)
    staged = sum(attempt(run, order).run().rows_staged for order in ("ASC", "DESC"))
    assert run.client.value(f"SELECT count() FROM {run.manifest.staging}") == staged == 8
