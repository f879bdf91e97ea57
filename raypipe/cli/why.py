"""`raypipe why`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from raypipe.cli import failures, output
from raypipe.cli.dates import LATEST, parse_date
from raypipe.cli.options import Options, Pipeline, command
from raypipe.clickhouse.client import Client

if TYPE_CHECKING:
    from raypipe.proof.scored import FeatureValue
    from raypipe.proof.why import Why

_EQUAL = {True: "yes", False: "no", None: "nothing to compare"}


@command()
def why(
    options: Options,
    pipeline: Pipeline,
    key: list[str] = typer.Argument(
        metavar="KEY…", help="The entity id alone, every value of the key, or column=value for some of them."
    ),
    date: str = typer.Option(LATEST, metavar="DATE", help="The published date: YYYY-MM-DD, or latest."),
) -> None:
    """Score one entity again and compare with its published prediction.

    It reads the entity through the SQL that the published run froze, and scores it with that run's model. The features
    stand with names, units and their parts of the score. Exit 3 when the score is not the published score; the reasons
    are then named: a feature that changed, or an entity that is new, gone or repeated in the source.

    Example: raypipe why churn u17 --date 2026-01-31
    """
    day = parse_date(date)
    with options.pipeline(pipeline) as (endpoint, loaded), Client(endpoint) as client:
        from raypipe.proof.why import why as explained

        result = explained(client, loaded, day, key)
    options.show(document(result), _print, result)
    if result.is_equal is False:
        raise typer.Exit(failures.REFUSED)


def document(result: Why) -> dict[str, Any]:
    """Return the JSON of an explained prediction."""
    run, scored, expected = result.run, result.scored, result.expected
    return {
        "pipeline": run.pipeline,
        "run_id": run.run_id,
        "date": run.date,
        "model_version": run.model_version,
        "artifact_sha256": run.artifact_sha256,
        "key": result.key,
        "score": scored.score if scored else None,
        "level": expected.level if expected else None,
        "published": [vars(row) for row in result.predictions],
        "rejection": result.rejection,
        "equal": result.is_equal,
        "causes": result.causes,
        "notes": result.notes,
        "answers": scored.answers if scored else {},
        "features": [vars(feature) for feature in scored.features] if scored else [],
        "seconds": result.seconds,
        "model_seconds": result.model_seconds,
    }


def _print(result: Why) -> None:
    run, scored = result.run, result.scored
    output.pairs(
        "why",
        {
            **result.key,
            "run_id": run.run_id,
            "model_version": run.model_version,
            "artifact_sha256": run.artifact_sha256,
            "score": f"{scored.score:.6f}" if scored else "none",
            "level": result.expected.level if result.expected else "none",
            **(scored.answers if scored else {}),
            "published": [f"{row.score:.6f} {row.level}" for row in result.predictions],
            "rejection": result.rejection or "no",
            "equal": _EQUAL[result.is_equal],
            "causes": "; ".join(result.causes) or "none",
            "seconds": f"{result.seconds:.2f}, and {result.model_seconds:.2f} to load the model",
        },
    )
    output.warn(result.notes)
    if result.scored:
        rows = [_row(feature) for feature in result.scored.features]
        output.table(("feature", "value", "unit", "part of the score", "changed", "meaning"), rows)


def _row(feature: FeatureValue) -> tuple[object, ...]:
    changed = "" if feature.changed is None else feature.changed
    value = "missing" if feature.value is None else feature.value
    return feature.name, value, feature.unit, feature.contribution, changed, feature.description
