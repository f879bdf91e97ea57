"""Write the monitoring row of an ads run, and remove the rows of earlier runs of its date.

The row and the arms' tests are written before the predictions, and name the run in their metadata. If the predictions
are not published, these rows have no effect, and the next run of the date replaces them.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from raypipe.ads.ab_tests import PolicyRun
from raypipe.ads.events import TEST, TRAIN, AdEvents
from raypipe.ads.fit import FittedPolicy
from raypipe.clickhouse import mutations
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.monitor import table
from raypipe.monitor.measures import psi
from raypipe.monitor.table import TABLE, UINT16_MAX, UINT32_MAX
from raypipe.registry.ab_tests import TESTS

# The rows of a pipeline and date, of any run.
_TESTS = "test_code = {code:String} AND created_by = 'raypipe'"
_ROWS = "monitoring_date = {day:Date} AND JSONExtractString(metadata, 'pipeline') = {pipeline:String}"


def share_drift(events: AdEvents) -> dict[str, float]:
    """Return the population stability index of the arms' shares of impressions, test part against training part.

    A context of one part alone is left out; the index is 0 where the training part has no impressions.
    """
    earlier, later = events.impressions(TRAIN), events.impressions(TEST)
    drift = {}
    for context in sorted(earlier.keys() & later.keys()):
        arms = sorted(earlier[context].keys() | later[context].keys())
        before = np.array([earlier[context].get(arm, 0) for arm in arms])
        after = np.array([later[context].get(arm, 0) for arm in arms])
        known = before.sum() > 0
        drift[context] = round(float(psi(before, after)), 5) if known else 0.0
    return drift


def write_monitoring(
    client: Client, run: PolicyRun, fitted: FittedPolicy, events: AdEvents, drift: Mapping[str, float], alert: float
) -> None:
    """Write the run's row of ml_model_monitoring.

    Args:
        drift: the index of each context by `share_drift`.
        alert: the index from which a context counts as drifted.
    """
    now = datetime.now(UTC).replace(microsecond=0)
    contexts = fitted.policy.contexts
    shifted = sorted(name for name, value in drift.items() if value >= alert)
    row = {
        "monitoring_id": table.id_of(f"monitoring:{run.run_id}"),
        "model_id": run.model_id,
        "monitoring_date": run.window.day,
        "monitoring_start_time": run.run_at,
        "monitoring_end_time": max(now, run.run_at),
        "total_predictions": len(contexts),
        "data_drift_score": max(drift.values(), default=0.0),
        "feature_drift_scores": json.dumps(drift),
        "drift_detected": int(bool(shifted)),
        "prediction_distribution": json.dumps(
            Counter(context.recommended for context in contexts.values()), sort_keys=True
        ),
        "error_count": min(events.skipped, UINT32_MAX),
        "error_rate": events.skipped / max(events.events, 1),
        "error_types": json.dumps(dict(events.unusable)),
        "alerts_triggered": min(len(fitted.warnings) + len(shifted), UINT16_MAX),
        "alert_types": json.dumps([*fitted.warnings, *(f"drift:{name}" for name in shifted)]),
        "metadata": json.dumps(
            {
                "run_id": run.run_id,
                "pipeline": run.pipeline,
                "model_version": run.model_version,
                "events": events.events,
                "off_policy": fitted.evaluation["test"],
            }
        ),
        "created_at": now,
        "updated_at": now,
    }
    client.insert_rows(TABLE, [row])


def written(client: Client, run: PolicyRun) -> list[str]:
    """List the runs of the pipeline and date that have rows in either table."""
    rows = client.rows(
        f"SELECT DISTINCT JSONExtractString(metadata, 'run_id') FROM {identifier(TESTS)} WHERE {_TESTS}"
        f" UNION DISTINCT SELECT DISTINCT JSONExtractString(metadata, 'run_id')"
        f" FROM {identifier(TABLE)} WHERE {_ROWS}",
        _parameters(run),
    )
    return [run_id for (run_id,) in rows]


def remove(client: Client, run: PolicyRun, run_ids: Sequence[str]) -> None:
    """Delete the rows of these runs of the pipeline and date from both tables."""
    if not run_ids:
        return
    for name, condition in ((TESTS, _TESTS), (TABLE, _ROWS)):
        of_runs = "has({runs:Array(String)}, JSONExtractString(metadata, 'run_id'))"
        parameters = {**_parameters(run), "runs": list(run_ids)}
        mutations.delete(client, name, f"{condition} AND {of_runs}", parameters)


def _parameters(run: PolicyRun) -> dict[str, Any]:
    return {"code": run.test_code, "day": run.window.day, "pipeline": run.pipeline}
