"""Write an experiment's comparisons to ml_model_ab_tests: one row per metric, arm and last day.

A repeated look at the same day replaces its rows. Looks at later days add rows, so that a chart can show the intervals
over days.
"""

import json
import uuid
from dataclasses import asdict
from datetime import date, datetime
from typing import Any

from raypipe.experiment.models import ModelsResult
from raypipe.experiment.policy import PolicyResult
from raypipe.experiment.result import AUTHOR, BETTER, WORSE, Comparison, ExperimentResult, MetricResult
from raypipe.registry import ab_tests
from raypipe.registry.rows import NEVER, json_text, size

# The two sides of an evaluated policy, and the level of its intervals.
LOGGED, POLICY = "logged", "policy"
CONFIDENCE = 0.95


def rows_of(result: ExperimentResult, now: datetime) -> list[dict[str, Any]]:
    """Return the rows of a comparison of arms."""
    return [
        _row(result, metric, comparison, now.replace(microsecond=0))
        for metric in result.metrics
        for comparison in metric.comparisons
    ]


def policy_row(result: PolicyResult, now: datetime) -> dict[str, Any]:
    """Return the row of an evaluated policy: the logged actions against the policy."""
    now = now.replace(microsecond=0)
    since, until = result.window.since or now.date(), result.window.until or now.date()
    winner = {BETTER: POLICY, WORSE: LOGGED}.get(result.verdict, "")
    return {
        "test_id": id_of(result.experiment, "reward", POLICY, until),
        "test_name": f"{result.experiment} reward per action: {LOGGED} against {POLICY}",
        "test_code": result.experiment,
        "model_a_id": LOGGED,
        "model_b_id": POLICY,
        "test_start_date": since,
        "test_end_date": until,
        "test_status": ab_tests.DECIDED if winner else ab_tests.RUNNING,
        "model_a_predictions": size(result.value.impressions),
        "model_b_predictions": size(result.value.effective),
        "model_a_metric": result.value.logging.value,
        "model_b_metric": result.value.snips.value,
        "confidence_level": CONFIDENCE,
        "winning_model_id": winner,
        "winner_determined_at": now if winner else NEVER,
        "created_by": AUTHOR,
        "metadata": json_text({**result.to_json(), "since": str(since), "until": str(until)}),
        "created_at": now,
        "updated_at": now,
    }


def models_row(result: ModelsResult, now: datetime) -> dict[str, Any]:
    """Return the row of two compared versions."""
    now, evidence = now.replace(microsecond=0), result.evidence
    winner = {
        result.control.version: result.control.model_id,
        result.treatment.version: result.treatment.model_id,
    }.get(result.winner, "")
    return {
        "test_id": id_of(result.experiment, evidence.decision.metric, result.treatment.version, evidence.test_date),
        "test_name": f"{result.experiment} {evidence.decision.metric}: {result.control.version} against"
        f" {result.treatment.version}",
        "test_code": result.experiment,
        "model_a_id": result.control.model_id,
        "model_b_id": result.treatment.model_id,
        "test_start_date": evidence.test_date,
        "test_end_date": evidence.test_date,
        "test_status": ab_tests.DECIDED,
        "model_a_predictions": size(evidence.rows),
        "model_b_predictions": size(evidence.rows),
        "model_a_metric": evidence.champion,
        "model_b_metric": evidence.challenger,
        "confidence_level": CONFIDENCE,
        "winning_model_id": winner,
        "winner_determined_at": now if winner else NEVER,
        "created_by": AUTHOR,
        "metadata": json_text(result.to_json()),
        "created_at": now,
        "updated_at": now,
    }


def _row(result: ExperimentResult, metric: MetricResult, comparison: Comparison, now: datetime) -> dict[str, Any]:
    since, until = result.since or now.date(), result.until or now.date()
    units = {arm.arm: arm for arm in result.arms}
    control, arm = units[comparison.control], units[comparison.arm]
    is_share = metric.kind == "proportion"
    significance = 0.0 if comparison.adjusted is None else 1 - comparison.adjusted
    return {
        "test_id": id_of(result.experiment, metric.metric, comparison.arm, until),
        "test_name": f"{result.experiment} {metric.metric}: {comparison.control} against {comparison.arm}",
        "test_code": result.experiment,
        "model_a_id": comparison.control,
        "model_b_id": comparison.arm,
        "traffic_split_a": control.share,
        "traffic_split_b": arm.share,
        "test_start_date": since,
        "test_end_date": until,
        "test_status": result.status,
        "model_a_predictions": size(metric.units[comparison.control]),
        "model_b_predictions": size(metric.units[comparison.arm]),
        "model_a_accuracy": comparison.control_value if is_share else 0.0,
        "model_b_accuracy": comparison.arm_value if is_share else 0.0,
        "model_a_metric": comparison.control_value,
        "model_b_metric": comparison.arm_value,
        "statistical_significance": significance,
        "confidence_level": result.confidence,
        "min_sample_size": size(control.units + arm.units + (comparison.units_to_go or 0)),
        "winning_model_id": comparison.winner if result.status == ab_tests.DECIDED else "",
        "winner_determined_at": now if comparison.winner and result.status == ab_tests.DECIDED else NEVER,
        "created_by": AUTHOR,
        "metadata": json_text(_details(result, metric, comparison)),
        "created_at": now,
        "updated_at": now,
    }


def _details(result: ExperimentResult, metric: MetricResult, comparison: Comparison) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(metric).items() if name != "comparisons"}
    return {
        **shown,
        **asdict(comparison),
        "significance": "1 - p, corrected for several arms",
        "intervals": result.intervals,
        "sample_ratio": asdict(result.sample_ratio),
        "decision": result.decision,
        "score": dict(result.score),
        "warnings": list(result.warnings),
    }


def id_of(experiment: str, metric: str, arm: str, until: date) -> str:
    """Return the id of a comparison on a day."""
    identity = json.dumps(["abtest", experiment, metric, arm, until.isoformat()])
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"raypipe:{identity}"))
