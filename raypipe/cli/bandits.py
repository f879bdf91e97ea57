"""What `raypipe run` prints of a bandit: a document for scripts, the policy of each context for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raypipe.cli import output, results
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded
from raypipe.score.runs import Run

if TYPE_CHECKING:
    from raypipe.ads.ads import PublishedPolicy
    from raypipe.ads.off_policy import Estimate, OffPolicy

NAMES = ("company_name", "brand_name", "device_type_name", "category_name")


def document(published: PublishedPolicy, seconds: float) -> dict[str, Any]:
    """The JSON of a published policy."""
    fitted, events, version = published.fitted, published.events, published.version
    return {
        **results.score_document(published, seconds),
        "fit": {
            "pipeline": version.pipeline,
            "model_version": version.version,
            "model_id": version.model_id,
            "status": version.status,
            "metrics": {"test": fitted.evaluation["test"], "baselines": fitted.evaluation["baselines"]},
            "decision": fitted.decision.to_json(),
            "warnings": list(fitted.warnings),
            "artifact_sha256": version.artifact_sha256,
            "seconds": round(fitted.seconds, 3),
        },
        "monitoring": {
            "data_drift_score": max(published.drift.values(), default=0.0),
            "events": events.events,
            "unusable": dict(events.unusable),
            "tests": published.tests,
        },
        "contexts": [
            {
                "context": context.context,
                **events.contexts[context.context],
                "recommended": context.recommended,
                "status": context.status,
                "arms": {
                    arm.arm: {
                        "impressions": arm.totals.impressions,
                        "users": events.users.get((context.context, arm.arm), 0),
                        "clicks": arm.totals.clicks,
                        "revenue": round(arm.totals.revenue, 6),
                        "expected": {"value": arm.expected, "low": arm.low, "high": arm.high},
                        "best": arm.best,
                        "share": arm.share,
                    }
                    for arm in context.arms
                },
            }
            for context in fitted.policy.contexts.values()
        ],
    }


def show(endpoint: Endpoint, loaded: Loaded, published: PublishedPolicy, seconds: float, json: bool) -> None:
    """Prints a published policy."""
    if json:
        output.emit(document(published, seconds))
        return
    run = published.outcome.run
    with results.as_far_as_it_can_be_read():
        _print_arms(endpoint, loaded, run)
    if published.fitted.value is not None:
        _print_value(published.fitted.value)
    output.say(published.fitted.decision.reason)
    for warning in published.fitted.warnings:
        output.say(f"warning: {warning}")
    events = published.events
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(events.unusable.items()))
    output.say(f"{events.events:,} ad events, {events.skipped:,} skipped{f' ({reasons})' if reasons else ''}")
    output.say(f"run {run.run_id}: {run.rows_published} contexts published in {seconds:.1f} s")


def _print_arms(endpoint: Endpoint, loaded: Loaded, run: Run) -> None:
    report = load(loaded.sql(f"{run.pipeline}/report.sql"))
    with Client(endpoint) as client:
        columns, found = client.named_rows(report.text, {"run_id": run.run_id, "date": run.date})
    rows = [dict(zip(columns, row, strict=True)) for row in found]
    used = [name for name in NAMES if any(row[name] for row in rows)]
    output.table(
        (
            *(name.removesuffix("_name") for name in used),
            "arm",
            "impressions",
            "clicks",
            "revenue",
            "expected",
            "95 %",
            "best",
            "share",
            "",
        ),
        [[*(row[name] for name in used), *_arm(row)] for row in rows],
        f"{run.pipeline} {run.model_version}: expected revenue an impression",
    )


def _arm(row: dict[str, Any]) -> list[object]:
    span = f"{row['low']:.4f} – {row['high']:.4f}"
    note = "recommended" if row["is_recommended"] else ""
    note += f" ({row['status']})" if row["status"] != "learned" else ""
    return [
        *(row[name] for name in ("arm", "impressions", "clicks", "revenue", "expected")),
        span,
        row["best"],
        row["share"],
        note,
    ]


def _print_value(value: OffPolicy) -> None:
    rows = [
        ("shown", *_cells(value.logging)),
        ("policy, IPS", *_cells(value.ips)),
        ("policy, SNIPS", *_cells(value.snips)),
        ("difference", *_cells(value.gain)),
    ]
    title = (
        f"revenue an impression on the test days: {value.impressions:,} impressions, {value.effective:,.0f} effective,"
        f" propensities {value.propensities}"
    )
    output.say(title)
    output.table(("", "value", "95 %"), rows)


def _cells(estimate: Estimate) -> tuple[str, str]:
    span = "" if estimate.low is None or estimate.high is None else f"{estimate.low:+.5f} – {estimate.high:+.5f}"
    return f"{estimate.value:+.5f}", span
