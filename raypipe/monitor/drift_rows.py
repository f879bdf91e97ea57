"""Write the comparisons of a night; the view raypipe_drift shows them once the run is committed."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from raypipe.clickhouse.client import Client, content_token
from raypipe.monitor.drift import Comparison
from raypipe.monitor.histograms import Night

TABLE = "raypipe_drift_rows"
_MEASURES = (
    *("rows", "reference_rows", "psi", "psi_noise", "js", "ks", "ks_error", "wasserstein"),
    *("missing", "reference_missing", "unseen", "reference_unseen", "status", "reason"),
)


def write(client: Client, night: Night, comparisons: Sequence[Comparison], features: Mapping[str, str]) -> None:
    """Write the rows of a night; writing them twice leaves one row each.

    Args:
        features: the feature of each column.
    """
    now = datetime.now(UTC)
    rows = [
        {
            **vars(night),
            "reference": item.reference.kind,
            "reference_date": item.reference.date,
            "reference_run_id": item.reference.run_id,
            "feature": features[item.series.column],
            **vars(item.series),
            **{name: getattr(item, name) for name in _MEASURES},
            "written_at": now,
        }
        for item in comparisons
    ]
    if rows:
        client.insert_rows(TABLE, rows, token=content_token(night.run_id, TABLE, now.isoformat()))
