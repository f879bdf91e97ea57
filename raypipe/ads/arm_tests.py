"""A test for each arm against the one that its context shows most, as rows of ml_model_ab_tests."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import pyarrow as pa

from raypipe.ads.bandit import ArmEstimate, ContextPolicy, Policy
from raypipe.clickhouse.client import Client, content_token
from raypipe.monitor.table import UINT32_MAX

TESTS = "ml_model_ab_tests"

RUNNING, DECIDED = "RUNNING", "COMPLETED"
# A test of a context or an arm that cannot be one says why instead.
ONE_ARM, NOT_SHOWN, NO_REVENUE = "ONE_ARM", "NOT_SHOWN", "NO_REVENUE"

_NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_TIME = pa.timestamp("s", tz="UTC")
_TEST_TEXTS = (
    "test_id test_name test_code model_a_id model_b_id test_status winning_model_id company_id brand_id created_by"
    " metadata"
)
_TEST_FLOATS = (
    "traffic_split_a traffic_split_b model_a_accuracy model_b_accuracy model_a_metric model_b_metric"
    " statistical_significance confidence_level"
)
TEST_SCHEMA = pa.schema(
    [(name, pa.string()) for name in _TEST_TEXTS.split()]
    + [(name, pa.float32()) for name in _TEST_FLOATS.split()]
    + [(name, pa.uint32()) for name in ("min_sample_size", "model_a_predictions", "model_b_predictions")]
    + [(name, pa.date32()) for name in ("test_start_date", "test_end_date")]
    + [(name, _TIME) for name in ("winner_determined_at", "created_at", "updated_at")]
)


@dataclass(frozen=True)
class Night:
    """The run that writes.

    Attributes:
        run_id: of the scoring run.
        run_at: its timestamp, UTC.
        pipeline: its pipeline.
        model_id: of the policy's version.
        model_version: its version.
        since: the first day of the window.
        day: the last one.
        min_impressions: of an arm, for its test to count.
        confidence: the probability to earn more than the other arm that decides a test.
    """

    run_id: str
    run_at: datetime
    pipeline: str
    model_id: str
    model_version: str
    since: date
    day: date
    min_impressions: int
    confidence: float

    @property
    def test_code(self) -> str:
        """The code that all tests of the pipeline and date share."""
        return f"{self.pipeline}_{self.day:%Y%m%d}"


def write_tests(
    client: Client,
    night: Night,
    policy: Policy,
    dimensions: Mapping[str, Mapping[str, str]],
    users: Mapping[tuple[str, str], int],
) -> int:
    """Writes a row of ml_model_ab_tests for each arm but its context's control, in one insert; returns how many."""
    rows = [row for context in policy.contexts.values() for row in tests_of(night, context, dimensions, users)]
    data = pa.Table.from_pylist(rows, schema=TEST_SCHEMA)
    # Repeated safely: a later row of a test replaces.
    client.insert(TESTS, data, token=content_token(TESTS, data.to_pylist()), columns=TEST_SCHEMA.names)
    return len(rows)


def tests_of(
    night: Night,
    context: ContextPolicy,
    dimensions: Mapping[str, Mapping[str, str]],
    users: Mapping[tuple[str, str], int],
) -> Iterator[dict[str, Any]]:
    """Each arm against the control; a context with one arm has a test without a rival."""
    control = next(arm for arm in context.arms if arm.arm == context.control)
    rivals: list[ArmEstimate | None] = [arm for arm in context.arms if arm is not control]
    for arm in rivals or [None]:
        status = _status(night, control, arm)
        winner = _ahead(control, arm) if status == DECIDED else ""
        name = arm.arm if arm else ""
        identity = f"raypipe:{night.test_code}:{context.context}:{name}"
        yield {
            "test_id": str(uuid.uuid5(uuid.NAMESPACE_URL, identity)),
            "test_name": f"{night.pipeline} {context.context}: {control.arm} against {name or 'no other arm'}",
            "test_code": night.test_code,
            "model_a_id": control.arm,
            "model_b_id": name,
            "test_status": status,
            "winning_model_id": winner,
            "company_id": dimensions[context.context]["company_id"],
            "brand_id": dimensions[context.context]["brand_id"],
            "created_by": "raypipe",
            "metadata": json.dumps(_details(night, context, control, arm, users)),
            "traffic_split_a": _traffic(context, control),
            "traffic_split_b": _traffic(context, arm),
            "model_a_accuracy": control.click_rate.mean,
            "model_b_accuracy": arm.click_rate.mean if arm else 0.0,
            "model_a_metric": control.expected,
            "model_b_metric": arm.expected if arm else 0.0,
            "statistical_significance": arm.above_control if arm else 0.0,
            "confidence_level": night.confidence,
            "min_sample_size": night.min_impressions,
            "model_a_predictions": min(control.seen.impressions, UINT32_MAX),
            "model_b_predictions": min(arm.seen.impressions, UINT32_MAX) if arm else 0,
            "test_start_date": night.since,
            "test_end_date": night.day,
            "winner_determined_at": night.run_at if winner else _NEVER,
            "created_at": night.run_at,
            "updated_at": night.run_at,
        }


def _status(night: Night, control: ArmEstimate, arm: ArmEstimate | None) -> str:
    """How far the test has come: decided when one of its two arms earns more with enough probability."""
    if arm is None:
        return ONE_ARM
    if not arm.seen.impressions or not control.seen.impressions:
        return NOT_SHOWN
    if not arm.seen.revenue and not control.seen.revenue:
        return NO_REVENUE
    enough = min(arm.seen.impressions, control.seen.impressions) >= night.min_impressions
    sure = max(arm.above_control, 1 - arm.above_control) >= night.confidence
    return DECIDED if enough and sure else RUNNING


def _ahead(control: ArmEstimate, arm: ArmEstimate | None) -> str:
    """The arm of the two that earns more, more likely than not."""
    return arm.arm if arm and arm.above_control > 0.5 else control.arm


def _details(
    night: Night,
    context: ContextPolicy,
    control: ArmEstimate,
    arm: ArmEstimate | None,
    users: Mapping[tuple[str, str], int],
) -> dict[str, Any]:
    return {
        "run_id": night.run_id,
        "model_version": night.model_version,
        "context": context.context,
        "context_status": context.status,
        "metric": "expected revenue an impression",
        "significance": "probability that b earns more than a",
        "arms": {
            one.arm: {
                "clicks": one.seen.clicks,
                "revenue": round(one.seen.revenue, 6),
                "users": users.get((context.context, one.arm), 0),
                "expected": [one.low, one.expected, one.high],
                "best": one.best,
                "share": one.share,
            }
            for one in (control, arm)
            if one is not None
        },
    }


def _traffic(context: ContextPolicy, arm: ArmEstimate | None) -> float:
    total = sum(one.seen.impressions for one in context.arms)
    return arm.seen.impressions / total if arm and total else 0.0
