"""Judge a fault test: compare published rows with the source by key, and look for leftovers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from datetime import date

import pytest

from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.config.load import Loaded, load_pipeline
from raypipe.data.slices import Slice
from raypipe.monitor.drift import Drift
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.score import prepare, run_drift, runs
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest
from raypipe.score.run import PublishedRun, execute
from raypipe.score.threads import Threads
from raypipe.score.worker import SliceScorer
from tests.conftest import FittedPublisher

_JOINED = """
SELECT countIf(isNull(p.entity_id)), countIf(isNull(s.user_id)), count(),
    uniqExact(s.company_id, s.brand_id, s.user_id), uniqExact(p.batch_id), any(p.batch_id)
FROM (
    SELECT company_id, brand_id, user_id FROM customer_user_features
    WHERE feature_date = {day:Date} AND active_last_30_days = 1
) AS s
FULL JOIN (
    SELECT company_id, brand_id, entity_id, batch_id FROM ml_model_predictions
    WHERE prediction_type = 'churn' AND prediction_date = {day:Date}
) AS p ON p.company_id = s.company_id AND p.brand_id = s.brand_id AND p.entity_id = s.user_id
"""
_LEFT = """
SELECT name FROM system.tables
WHERE database = currentDatabase()
    AND match(name, '^raypipe_(staging|portion|twin|explain|snapshot|training|previous|lock)_')
"""


def assert_exact(client: Client, day: date, run_id: str) -> None:
    """Assert that source and target hold the same keys, each once, all of one run."""
    (row,) = client.rows(_JOINED, {"day": day}, {"join_use_nulls": 1})
    missing, extra, joined, distinct, batches, batch = row
    assert (missing, extra, batches, batch) == (0, 0, 1, run_id)
    assert joined == distinct > 0


def own_tables(client: Client) -> list[str]:
    """Return the remaining tables of runs, including locks."""
    return [name for (name,) in client.rows(_LEFT)]


def assert_nothing_left(client: Client, process: subprocess.Popen[bytes] | None = None) -> None:
    """Assert that no table of a run, no lock and no process of the command's group remains."""
    assert own_tables(client) == []
    if process is not None:
        with pytest.raises(ProcessLookupError):
            os.killpg(process.pid, 0)


def newest(client: Client, day: date) -> runs.Run:
    """Return the latest run of a day, in any state."""
    return next(run for run in runs.listed(client, "churn", limit=1000) if run.date == day)


def loaded(publisher: FittedPublisher, *overrides: str) -> Loaded:
    """Load churn with the fitted publisher's overrides."""
    return load_pipeline("churn", shipped() / "configs", [*publisher.overrides, *overrides], environ={})


def planned(publisher: FittedPublisher, day: date, *overrides: str) -> Manifest:
    """Freeze the manifest of a run of the champion, as `raypipe score` does."""
    config = loaded(publisher, *overrides)
    with Client(publisher.endpoint) as client:
        people = prepare.population(client, config, day)
        model = models.find(client, "churn", "champion")
        card = load_card(model.artifact_uri, model.artifact_sha256, client)
        return prepare.manifest(client, config, model, card, people, write=True)


def in_process(
    publisher: FittedPublisher, manifest: Manifest, *, take_over: bool = False, threads: Threads | None = None
) -> PublishedRun:
    """A run in this process, without Ray, so that a test can switch a guard off; everything else is the real thing.

    Everything else is real. `publisher.endpoint` may be a proxy.

    Args:
        threads: Score on these; without them, one slice after the other in the caller's thread.
    """

    def scorer(manifest: Manifest, slices: Sequence[Slice]) -> Iterator[Receipt]:
        if threads is not None:
            yield from threads.score(publisher.endpoint, manifest, slices)
            return
        own = SliceScorer(publisher.endpoint, manifest, 1)
        for piece in slices:
            yield own.score(piece)

    measured: list[Drift] = []
    with Client(publisher.endpoint) as client:
        limits = loaded(publisher).config.monitor
        return execute(
            client,
            manifest,
            scorer,
            take_over=take_over,
            progress=lambda stage, done, total: None,
            monitor=lambda frozen, written: measured.append(run_drift.measure(client, limits, frozen, written)),
        )
