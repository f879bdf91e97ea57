"""The drift of a run, measured on what its own scoring pass counted."""

from __future__ import annotations

from collections.abc import Sequence

from raypipe.artifact.package import load_card
from raypipe.clickhouse.client import Client
from raypipe.config.shared import Monitor
from raypipe.monitor import drift, record
from raypipe.score.ledger import Receipt
from raypipe.score.manifest import Manifest


def measure(client: Client, limits: Monitor, manifest: Manifest, written: Sequence[Receipt]) -> drift.Drift:
    """Measures a run's drift from its receipts alone, and writes its monitoring row."""
    card = load_card(manifest.artifact_uri, manifest.artifact_sha256)
    measured = drift.measure(
        card.contract.columns,
        card.bins.feature_shares,
        card.bins.score_shares,
        (receipt.histograms for receipt in written),
        warning=limits.psi_warning,
        alert=limits.psi_alert,
    )
    seconds = max(receipt.finished_at for receipt in written) - min(receipt.started_at for receipt in written)
    scored = record.Scored(
        manifest.run_id,
        manifest.model_id,
        manifest.model_version,
        manifest.date,
        manifest.run_at,
        sum(receipt.rows_staged for receipt in written),
        sum(receipt.rows_rejected for receipt in written),
        seconds,
    )
    record.write(client, scored, measured)
    return measured
