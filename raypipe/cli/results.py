"""What the commands that fit, score and publish print: documents for scripts, tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raypipe.cli import output, validating
from raypipe.cli.metrics import METRICS, WITH_INTERVAL, cell
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.clickhouse.statements import load
from raypipe.errors import RaypipeError
from raypipe.project import shipped
from raypipe.registry import models
from raypipe.registry.record import Registered
from raypipe.score import runs

if TYPE_CHECKING:
    from raypipe.ads.ads import AdsOutcome
    from raypipe.fit.fit import FitResult
    from raypipe.monitor.drift import Drift
    from raypipe.night import NightResult
    from raypipe.score.plan import PlannedRun
    from raypipe.score.score import ScoreResult

SHOWN_DRIFT = 3


def plan_document(plan: PlannedRun) -> dict[str, Any]:
    """The JSON of a plan."""
    manifest = plan.manifest
    return {
        "pipeline": manifest.pipeline,
        "date": manifest.date,
        "model_version": manifest.model_version,
        "rows": manifest.source_rows,
        "parts": plan.parts,
        "slices": len(manifest.slicing.slices),
        "slices_by": manifest.slicing.method,
        "copied_first": plan.population.copied,
        "chunk_rows": manifest.chunk_rows,
        "targets": dict(plan.methods),
        "levels": [name for name, _ in manifest.levels],
        "explained_rows": min(manifest.explain_rows, manifest.source_rows),
        "missing_grants": None if plan.lacking is None else [str(grant) for grant in plan.lacking],
    }


def fit_document(outcome: FitResult) -> dict[str, Any]:
    """The JSON of a fit."""
    version, fitted = outcome.version, outcome.fitted
    return {
        "pipeline": version.pipeline,
        "model_version": version.version,
        "model_id": version.model_id,
        "status": version.status,
        "metrics": {"test": fitted.test, "validation": fitted.validation, "baselines": fitted.baselines},
        "decision": fitted.decision.to_json(),
        "warnings": list(fitted.warnings),
        "rows": dict(fitted.rows),
        "artifact_sha256": version.artifact_sha256,
        "seconds": round(fitted.seconds, 3),
    }


def score_document(scored: ScoreResult | AdsOutcome, seconds: float) -> dict[str, Any]:
    """The JSON of a published run."""
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
        "rows_per_second": round(run.rows_published / max(seconds, 1e-9), 1),
        "time": runs.timings(run),
        "peak_mb": scored.outcome.peak_mb,
    }


def monitoring_document(scored: ScoreResult) -> dict[str, Any]:
    """The JSON of a run's drift."""
    found = scored.drift
    return {
        "data_drift_score": found.worst,
        "score_drift": found.score,
        "warnings": list(found.warnings),
        "alerts": list(found.alerts),
    }


def show_plan(plan: PlannedRun, json: bool) -> None:
    """Prints a plan."""
    document = plan_document(plan)
    if json:
        output.emit(document)
        return
    lacking = document["missing_grants"]
    shown = {
        **document,
        "targets": [f"{table} by {how.upper()} PARTITION" for table, how in plan.methods.items()],
        "missing_grants": "cannot tell: the server does not know CHECK GRANT" if lacking is None else lacking or "none",
    }
    output.table(("what", "value"), [(name.replace("_", " "), _words(value)) for name, value in shown.items()])


def show_fit(outcome: FitResult, json: bool) -> None:
    """Prints a fit."""
    if json:
        output.emit(fit_document(outcome))
    else:
        _print_fit(outcome)


def show_score(scored: ScoreResult, seconds: float, json: bool) -> None:
    """Prints a published run."""
    if json:
        output.emit({**score_document(scored, seconds), "monitoring": monitoring_document(scored)})
    else:
        _print_score(scored, seconds)


def show_run(endpoint: Endpoint, night: NightResult, seconds: float, url: str | None, json: bool) -> None:
    """Print a night of one pipeline, and where to look next."""
    fitted, scored = night.fit, night.score
    if json:
        document = {**score_document(scored, seconds), "fit": fit_document(fitted) if fitted else None}
        validated = validating.document(night.validation)
        output.emit({**document, "monitoring": monitoring_document(scored), "validated": validated})
        return
    if fitted:
        _print_fit(fitted)
    else:
        with as_far_as_it_can_be_read(), Client(endpoint) as client:
            _print_registered(models.find(client, scored.manifest.pipeline, scored.manifest.model_version))
    _print_score(scored, seconds)
    with as_far_as_it_can_be_read(), Client(endpoint) as client:
        _print_levels(client, scored)
    if night.validation.validations:
        validating.show(scored.manifest.pipeline, night.validation)
    _print_next(scored, url)


@contextmanager
def as_far_as_it_can_be_read() -> Iterator[None]:
    """What is published stays published, so a question about it that has no answer does not fail the command."""
    try:
        yield
    except RaypipeError as error:
        output.tell(f"the run is published, but not all about it could be read: {error.problem}")


def _print_fit(outcome: FitResult) -> None:
    fitted, version = outcome.fitted, outcome.version
    judged = {"model (test)": fitted.test, "model (validation)": fitted.validation}
    _print_metrics(version, judged, fitted.baselines)
    output.say(fitted.decision.reason)
    for warning in fitted.warnings:
        output.say(f"warning: {warning}")


def _print_registered(version: Registered) -> None:
    """How the version that scored was judged when it was fitted."""
    known = version.evaluation
    _print_metrics(version, {"model (test)": known.get("test", {})}, known.get("baselines", {}))
    output.say(f"fitted {version.created_at:%Y-%m-%d}; `raypipe fit {version.pipeline}` fits the next version")


def _print_metrics(version: Registered, judged: Mapping[str, Any], baselines: Mapping[str, Any]) -> None:
    test = judged["model (test)"]
    names = [name for name in METRICS if isinstance(test.get(name), Mapping)]
    shown = {
        **{name: found for name, found in judged.items() if found},
        **{f"baseline: {name}": found for name, found in baselines.items()},
    }
    rows = [
        [what, *(cell(found.get(name), interval=name in WITH_INTERVAL) for name in names)]
        for what, found in shown.items()
    ]
    output.table(["", *names], rows, f"{version.pipeline} {version.version}: {version.status.lower()}")


def _print_score(scored: ScoreResult, seconds: float) -> None:
    document = score_document(scored, seconds)
    shown = {name: value for name, value in document.items() if name not in ("time", "peak_mb")}
    spent = "  ".join(f"{name} {value:.1f}s" for name, value in document["time"].items())
    rows = [(name.replace("_", " "), _words(value)) for name, value in shown.items()]
    rows += [
        ("time", spent),
        ("peak memory", "  ".join(f"{name} {mb:.0f} MB" for name, mb in document["peak_mb"].items())),
    ]
    found = scored.drift
    rows.append(("drift", _drift_words(found)))
    output.table(("published", ""), rows)


def _drift_words(found: Drift) -> str:
    """The columns that moved most, and how many more did."""
    moved = sorted((*found.alerts, *found.warnings), key=lambda name: -found.index(name))
    if not moved:
        return f"none above the limits (largest index {found.worst:.3f})"
    shown = ", ".join(f"{name} {found.index(name):.2f}" for name in moved[:SHOWN_DRIFT])
    more = f" and {len(moved) - SHOWN_DRIFT} more" if len(moved) > SHOWN_DRIFT else ""
    return f"{shown}{more}, by population stability index"


def _print_levels(client: Client, scored: ScoreResult) -> None:
    """The published rows by level and brand, with names for people."""
    if not scored.manifest.levels:
        return
    query = load(shipped() / "sql" / "shared" / "published_levels.sql")
    rows = client.rows(query.text, {"run_id": scored.manifest.run_id, "run_at": scored.manifest.run_at})
    output.table(("level", "brand", "users", "mean score"), rows, "levels")


def _print_next(scored: ScoreResult, url: str | None) -> None:
    where = f" --url {url}" if url else ""
    first = scored.manifest.targets[0].table
    output.say(
        f"next: raypipe runs{where}, raypipe models{where}, or\n"
        f'      raypipe sql{where} "SELECT * FROM {first} LIMIT 5"'
    )


def _words(value: object) -> object:
    return ", ".join(map(str, value)) if isinstance(value, list) else value
