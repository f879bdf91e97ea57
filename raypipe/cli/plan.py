"""Define `raypipe plan`."""

from typing import Any

from raypipe.cli import output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.options import Date, Model, Options, Pipeline, command


@command(reads="plan")
def plan(options: Options, pipeline: Pipeline, date: Date = LATEST, model: Model = "champion") -> None:
    """Show what `score` would do with the same options; change nothing.

    It also reports what `score` would refuse: a missing snapshot, model, column, target or grant.

    Example: raypipe plan churn --date 2026-01-31
    """
    day = parse_date(date)
    with options.pipeline(pipeline) as (endpoint, loaded):
        from raypipe.score.plan import plan as planned_run

        planned = planned_run(endpoint, loaded, day, model)
    manifest = planned.manifest
    document: dict[str, Any] = {
        "pipeline": manifest.pipeline,
        "date": manifest.date,
        "model_version": manifest.model_version,
        "rows": manifest.source_rows,
        "parts": planned.parts,
        "slices": len(manifest.slicing.slices),
        "slices_by": manifest.slicing.method,
        "copied_first": planned.population.copied,
        "chunk_rows": manifest.chunk_rows,
        "direct": manifest.direct,
        "targets": dict(planned.methods),
        "notes": planned.notes,
        "levels": [name for name, _ in manifest.levels],
        "explained_rows": min(manifest.explain_rows, manifest.source_rows),
        "missing_grants": [str(grant) for grant in planned.lacking],
    }
    shown = {
        "targets": [f"{table} by {method.upper()} PARTITION" for table, method in planned.methods.items()],
        "notes": "; ".join(planned.notes) or "none",
        "missing_grants": document["missing_grants"] or "none",
    }
    options.show(document, output.pairs, "plan", {**document, **shown})
