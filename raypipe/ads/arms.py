"""The monitoring of a night of ads: its row beside the tests of the arms, until a later run of the date replaces both.

Both are written before the predictions and name the run in their metadata; a run whose predictions were not published
left them without effect, and the next one of the date replaces them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from raypipe.ads.arm_tests import TESTS, Night
from raypipe.ads.bandit import Policy
from raypipe.clickhouse.client import Client
from raypipe.monitor import table
from raypipe.monitor.drift import psi
from raypipe.monitor.table import TABLE, UINT16_MAX, UINT32_MAX

# The rows of a pipeline and date, whichever run wrote them.
_TESTS = "test_code = {code:String} AND created_by = 'raypipe'"
_ROWS = "monitoring_date = {day:Date} AND JSONExtractString(metadata, 'pipeline') = {pipeline:String}"


@dataclass(frozen=True)
class Health:
    """What the monitoring row tells.

    Attributes:
        events: ad events of the window.
        unusable: of these, how many were skipped, by reason.
        drift: population stability index of the arms' shares in each context, test part against training part.
        drift_alert: the index from which it is a shift.
        value: the off-policy value, JSON-ready.
        warnings: of the fit.
    """

    events: int
    unusable: Mapping[str, int]
    drift: Mapping[str, float]
    drift_alert: float
    value: Mapping[str, Any]
    warnings: Sequence[str]


def share_drift(earlier: Mapping[str, Mapping[str, int]], later: Mapping[str, Mapping[str, int]]) -> dict[str, float]:
    """The population stability index of each context's impressions by arm; 0 where either side has none."""
    found = {}
    for context in sorted(earlier.keys() & later.keys()):
        arms = sorted(earlier[context].keys() | later[context].keys())
        before = np.array([earlier[context].get(arm, 0) for arm in arms])
        after = np.array([later[context].get(arm, 0) for arm in arms])
        known = before.sum() > 0
        found[context] = round(psi((before / before.sum()).tolist(), after), 5) if known else 0.0
    return found


def write_monitoring(client: Client, night: Night, policy: Policy, health: Health) -> str:
    """Writes the run's row of ml_model_monitoring; returns its id, which follows from the run's."""
    identity = table.id_of(f"monitoring:{night.run_id}")
    now = datetime.now(UTC).replace(microsecond=0)
    skipped = sum(health.unusable.values())
    shifted = sorted(name for name, value in health.drift.items() if value >= health.drift_alert)
    row = {
        "monitoring_id": identity,
        "model_id": night.model_id,
        "monitoring_date": night.day,
        "monitoring_start_time": night.run_at,
        "monitoring_end_time": max(now, night.run_at),
        "total_predictions": len(policy.contexts),
        "data_drift_score": max(health.drift.values(), default=0.0),
        "feature_drift_scores": json.dumps(health.drift),
        "drift_detected": int(bool(shifted)),
        "prediction_distribution": json.dumps(_distribution(policy)),
        "error_count": min(skipped, UINT32_MAX),
        "error_rate": skipped / max(health.events, 1),
        "error_types": json.dumps(dict(health.unusable)),
        "alerts_triggered": min(len(health.warnings) + len(shifted), UINT16_MAX),
        "alert_types": json.dumps([*health.warnings, *(f"drift:{name}" for name in shifted)]),
        "metadata": json.dumps(
            {
                "run_id": night.run_id,
                "pipeline": night.pipeline,
                "model_version": night.model_version,
                "events": health.events,
                "off_policy": health.value,
            }
        ),
        "created_at": now,
        "updated_at": now,
    }
    client.insert_rows(TABLE, [row])
    return identity


def written(client: Client, night: Night) -> list[str]:
    """The runs of the pipeline and date that have rows in either table; only the holder of the lock adds one."""
    rows = client.rows(
        f"SELECT DISTINCT JSONExtractString(metadata, 'run_id') FROM {client.topology.everywhere(TESTS)} WHERE {_TESTS}"
        f" UNION DISTINCT SELECT DISTINCT JSONExtractString(metadata, 'run_id')"
        f" FROM {client.topology.everywhere(TABLE)} WHERE {_ROWS}",
        _names(night),
    )
    return [run for (run,) in rows]


def remove(client: Client, night: Night, run_ids: Sequence[str]) -> None:
    """Deletes what these runs of the pipeline and date have written to both tables."""
    if not run_ids:
        return
    for name, condition in ((TESTS, _TESTS), (TABLE, _ROWS)):
        mine = "has({runs:Array(String)}, JSONExtractString(metadata, 'run_id'))"
        sql, settings = client.topology.delete(name, f"{condition} AND {mine}")
        client.run(sql, {**_names(night), "runs": list(run_ids)}, settings)


def _names(night: Night) -> dict[str, Any]:
    return {"code": night.test_code, "day": night.day, "pipeline": night.pipeline}


def _distribution(policy: Policy) -> dict[str, int]:
    found: dict[str, int] = {}
    for context in policy.contexts.values():
        found[context.recommended] = found.get(context.recommended, 0) + 1
    return dict(sorted(found.items()))
