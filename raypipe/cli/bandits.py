"""Print the result of a bandit: a JSON document, or the policy of each context as a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from raypipe.cli import output
from raypipe.cli.failures import tolerated
from raypipe.cli.fit import version_document
from raypipe.cli.metrics import cell
from raypipe.cli.options import Options
from raypipe.cli.score import score_document
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import load
from raypipe.config.load import Loaded
from raypipe.score.runs import Run

if TYPE_CHECKING:
    from raypipe.ads.ads import PublishedPolicy
    from raypipe.evaluation.off_policy import OffPolicy

NAMES = ("company_name", "brand_name", "device_type_name", "category_name")
SHOWN = ("arm", "impressions", "clicks", "revenue", "expected", "best", "share")


def document(published: PublishedPolicy, seconds: float) -> dict[str, Any]:
    """Return the JSON of a published policy."""
    fitted, events = published.fitted, published.events
    metrics = {"test": fitted.evaluation["test"], "baselines": fitted.evaluation["baselines"]}
    return {
        **score_document(published, seconds, seconds - fitted.seconds),
        "fit": version_document(published.version, fitted, metrics),
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
                        **arm.to_json(),
                        "users": events.users.get((context.context, arm.arm), 0),
                        "expected": {"value": arm.expected, "low": arm.low, "high": arm.high},
                    }
                    for arm in context.arms
                },
            }
            for context in fitted.policy.contexts.values()
        ],
    }


def show(options: Options, endpoint: Endpoint, loaded: Loaded, published: PublishedPolicy, seconds: float) -> None:
    """Print a published policy."""
    options.show(document(published, seconds), _print, endpoint, loaded, published, seconds)


def _print(endpoint: Endpoint, loaded: Loaded, published: PublishedPolicy, seconds: float) -> None:
    run = published.outcome.run
    with tolerated():
        _print_arms(endpoint, loaded, run)
    if published.fitted.value is not None:
        _print_value(published.fitted.value)
    output.say(published.fitted.decision.reason)
    output.warn(published.fitted.warnings)
    events = published.events
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(events.unusable.items()))
    output.say(f"{events.events:,} ad events, {events.skipped:,} skipped{f' ({reasons})' if reasons else ''}")
    output.say(f"run {run.run_id}: {run.rows_published} contexts published in {seconds:.1f} s")


def _print_arms(endpoint: Endpoint, loaded: Loaded, run: Run) -> None:
    report = load(loaded.sql(f"{run.pipeline}/report.sql"))
    with Client(endpoint) as client:
        columns, values = client.named_rows(report.text, {"run_id": run.run_id, "date": run.date})
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    for row in rows:
        row["expected"] = cell({"value": row["expected"], "low": row["low"], "high": row["high"]})
    used = [name for name in NAMES if any(row[name] for row in rows)]
    names = [*(name.removesuffix("_name") for name in used), *SHOWN, ""]
    shown = [[*(row[name] for name in (*used, *SHOWN)), _note(row)] for row in rows]
    output.table(names, shown, f"{run.pipeline} {run.model_version}: expected revenue per impression")


def _note(row: dict[str, Any]) -> str:
    note = "recommended" if row["is_recommended"] else ""
    return f"{note} ({row['status']})" if row["status"] != "learned" else note


def _print_value(value: OffPolicy) -> None:
    lines = {
        "shown": value.logging,
        "policy, IPS": value.ips,
        "policy, SNIPS": value.snips,
        "policy, doubly robust": value.robust,
        "difference": value.gain,
    }
    output.say(
        f"revenue per impression on the test days: {value.impressions:,} impressions, {value.effective:,.0f} effective,"
        f" propensities {value.propensities}"
    )
    output.table(("", "value"), [(name, cell(vars(estimate), digits="+.5f")) for name, estimate in lines.items()])
