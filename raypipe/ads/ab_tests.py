"""Test each arm against the arm that its context shows most, and write rows of ml_model_ab_tests."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from raypipe.ads.bandit import ArmEstimate, ContextPolicy, Policy
from raypipe.ads.events import AdEvents, AdWindow
from raypipe.clickhouse.client import Client
from raypipe.monitor.table import UINT32_MAX
from raypipe.registry import ab_tests
from raypipe.registry.ab_tests import DECIDED, RUNNING

# These statuses name the reason why an arm cannot be tested.
ONE_ARM, NOT_SHOWN, NO_REVENUE = "ONE_ARM", "NOT_SHOWN", "NO_REVENUE"

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class PolicyRun:
    """The scoring run that writes tests and monitoring, with its model version and its window of events."""

    run_id: str
    run_at: datetime
    pipeline: str
    model_id: str
    model_version: str
    window: AdWindow

    @property
    def test_code(self) -> str:
        """Return the code that all tests of the pipeline and date share."""
        return f"{self.pipeline}_{self.window.day:%Y%m%d}"


def write_tests(client: Client, run: PolicyRun, policy: Policy, events: AdEvents) -> int:
    """Write one row per tested arm in a single insert, and return the number of rows."""
    rows = [row for context in policy.contexts.values() for row in tests_of(run, context, events)]
    return ab_tests.write(client, rows)


def tests_of(run: PolicyRun, context: ContextPolicy, events: AdEvents) -> Iterator[dict[str, Any]]:
    """Yield one row per arm other than the control; a context with one arm has a test without a rival."""
    control = next(arm for arm in context.arms if arm.arm == context.control)
    rivals: list[ArmEstimate | None] = [arm for arm in context.arms if arm is not control]
    settings, dimensions = run.window.settings, events.contexts[context.context]
    for arm in rivals or [None]:
        status = _status(run.window, control, arm)
        name = arm.arm if arm else ""
        leader = name if arm and arm.above_control > 0.5 else control.arm
        winner = leader if status == DECIDED else ""
        identity = f"raypipe:{run.test_code}:{context.context}:{name}"
        yield {
            "test_id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
            "test_name": f"{run.pipeline} {context.context}: {control.arm} against {name or 'no other arm'}",
            "test_code": run.test_code,
            "model_a_id": control.arm,
            "model_b_id": name,
            "test_status": status,
            "winning_model_id": winner,
            "company_id": dimensions["company_id"],
            "brand_id": dimensions["brand_id"],
            "created_by": "raypipe",
            "metadata": json.dumps(_details(run, context, control, arm, events)),
            "traffic_split_a": _traffic(context, control),
            "traffic_split_b": _traffic(context, arm),
            "model_a_accuracy": control.click_rate.mean,
            "model_b_accuracy": arm.click_rate.mean if arm else 0.0,
            "model_a_metric": control.expected,
            "model_b_metric": arm.expected if arm else 0.0,
            "statistical_significance": arm.above_control if arm else 0.0,
            "confidence_level": settings.confidence,
            "min_sample_size": settings.min_impressions,
            "model_a_predictions": min(control.totals.impressions, UINT32_MAX),
            "model_b_predictions": min(arm.totals.impressions, UINT32_MAX) if arm else 0,
            "test_start_date": run.window.since,
            "test_end_date": run.window.day,
            "winner_determined_at": run.run_at if winner else _NEVER,
            "created_at": run.run_at,
            "updated_at": run.run_at,
        }


def _status(window: AdWindow, control: ArmEstimate, arm: ArmEstimate | None) -> str:
    """Return the state of a test; it is decided when one of its two arms earns more with enough probability."""
    if arm is None:
        return ONE_ARM
    if not arm.totals.impressions or not control.totals.impressions:
        return NOT_SHOWN
    if not arm.totals.revenue and not control.totals.revenue:
        return NO_REVENUE
    enough = min(arm.totals.impressions, control.totals.impressions) >= window.settings.min_impressions
    sure = max(arm.above_control, 1 - arm.above_control) >= window.settings.confidence
    return DECIDED if enough and sure else RUNNING


def _details(
    run: PolicyRun, context: ContextPolicy, control: ArmEstimate, rival: ArmEstimate | None, events: AdEvents
) -> dict[str, Any]:
    return {
        "run_id": run.run_id,
        "model_version": run.model_version,
        "context": context.context,
        "context_status": context.status,
        "metric": "expected revenue per impression",
        "significance": "probability that b earns more than a",
        "arms": {
            arm.arm: {
                **arm.to_json(),
                "users": events.users.get((context.context, arm.arm), 0),
                "expected": [arm.low, arm.expected, arm.high],
            }
            for arm in (control, rival)
            if arm is not None
        },
    }


def _traffic(context: ContextPolicy, arm: ArmEstimate | None) -> float:
    total = sum(arm.totals.impressions for arm in context.arms)
    return arm.totals.impressions / total if arm and total else 0.0
