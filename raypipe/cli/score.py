"""Define `raypipe score`, and print a published run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from raypipe.cli import output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.options import Date, Model, Options, Pipeline, TakeOver, command
from raypipe.score import runs

if TYPE_CHECKING:
    from raypipe.ads.ads import PublishedPolicy
    from raypipe.monitor.drift import Drift
    from raypipe.score.score import ScoreResult

RESUMABLE = "`raypipe runs` lists the runs that can be resumed"
SHOWN_DRIFT = 3


@command(RESUMABLE, reads="score")
def score(
    options: Options, pipeline: Pipeline, date: Date = LATEST, model: Model = "champion", take_over: TakeOver = False
) -> None:
    """Score a whole population and publish it, all or nothing.

    Each entity is published once. Readers of the published tables see the old scores or the new scores, never a
    mixture. `raypipe resume` finishes an interrupted run. `raypipe fit` or `raypipe run` makes the first champion.

    Example: raypipe score churn --date 2026-01-31
    """
    day = parse_date(date)
    with options.pipeline(pipeline) as (endpoint, loaded), output.progress() as progress:
        from raypipe.score import score as scoring

        started = time.perf_counter()
        result = scoring.score(endpoint, loaded, day, model, progress, take_over=take_over)
    show_score(options, result, time.perf_counter() - started)


def show_score(options: Options, scored: ScoreResult, seconds: float) -> None:
    """Print a published run."""
    document = monitored_document(scored, seconds)
    options.show(document, print_score, scored, document)


def monitored_document(scored: ScoreResult, seconds: float, scoring_seconds: float | None = None) -> dict[str, Any]:
    """Return the JSON of a published run, with its drift."""
    drift = scored.drift
    monitoring = {"reference": drift.reference, "data_drift_score": drift.worst, "score_drift": drift.score}
    names = {"warnings": list(drift.warnings), "alerts": list(drift.alerts)}
    return {**score_document(scored, seconds, scoring_seconds), "monitoring": {**monitoring, **names}}


def score_document(
    scored: ScoreResult | PublishedPolicy, seconds: float, scoring_seconds: float | None = None
) -> dict[str, Any]:
    """Return the JSON of a published run; `scoring_seconds` are the run's own in a command that also fits."""
    run = scored.outcome.run
    return {
        "run_id": run.run_id,
        "pipeline": run.pipeline,
        "model_version": run.model_version,
        "date": run.date,
        "rows_read": run.rows_read,
        "rows_published": run.rows_published,
        "rows_rejected": run.rows_rejected,
        "slices": run.slices,
        "seconds": round(seconds, 3),
        "rows_per_second": round(run.rows_published / max(scoring_seconds or seconds, 1e-9), 1),
        "time": runs.timings(run),
        "peak_mb": scored.outcome.peak_mb,
        "predictor": scored.outcome.receipts[0].predictor,
    }


def print_score(scored: ScoreResult, document: dict[str, Any]) -> None:
    """Print the plain values of a run's document as a table."""
    parts = ("fit", "monitoring", "validated")
    output.pairs(
        "published",
        {
            **{name: value for name, value in document.items() if name not in parts},
            "time": "  ".join(f"{name} {value:.1f}s" for name, value in document["time"].items()),
            "peak_mb": "  ".join(f"{name} {mb:.0f}" for name, mb in document["peak_mb"].items()),
            "drift": _drift_words(scored.drift),
        },
    )


def _drift_words(drift: Drift) -> str:
    """Name the series that moved most, and count the others."""
    if drift.worst is None:
        return drift.reference
    against = f"against the {drift.reference}"
    moved = [*drift.alerts, *drift.warnings]
    if not moved:
        return f"none above the limits {against} (largest index {drift.worst:.3f})"
    more = f" and {len(moved) - SHOWN_DRIFT} more" if len(moved) > SHOWN_DRIFT else ""
    return f"{', '.join(moved[:SHOWN_DRIFT])}{more}, {against}"
