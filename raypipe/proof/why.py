"""Explain one published prediction: read and score its entity again, and compare with the published row.

The entity is read through the SQL that the run froze, and scored by the artifact that the run used. A later champion
or a changed config therefore makes no difference; a changed source does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from raypipe.artifact.golden import TOLERANCE
from raypipe.artifact.package import load_package
from raypipe.clickhouse.client import Client
from raypipe.config.load import Loaded
from raypipe.errors import UsageError
from raypipe.proof import entity, prediction, published
from raypipe.proof.entity import Key, Row
from raypipe.proof.prediction import Prediction
from raypipe.proof.published import Published
from raypipe.proof.scored import Scored, score
from raypipe.registry import aliases
from raypipe.score.runs import Run

SHOWN_ENTITIES = 3


@dataclass(frozen=True)
class Why:
    """One prediction, explained.

    Attributes:
        key: the entity's key as text.
        scored: the entity as the source has it now; None where it is gone.
        expected: the prediction as computed now; None without a score.
        predictions: the published rows of the entity; a whole publication has one.
        rejection: the reason why the run published nothing for the entity; '' where it did.
        is_equal: whether the score now is the published score; None where there is nothing to compare.
        causes: a sentence for each reason why the two differ.
        notes: changes since then that make no difference, such as a later champion.
        seconds: the time without the model's loading, which is `model_seconds`.
    """

    run: Run
    key: Mapping[str, str | None]
    scored: Scored | None
    expected: Prediction | None
    predictions: tuple[Prediction, ...]
    rejection: str
    is_equal: bool | None
    causes: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float = 0.0
    model_seconds: float = 0.0


def why(client: Client, loaded: Loaded, day: date | None, words: Sequence[str]) -> Why:
    """Explain the published prediction of one entity.

    Args:
        words: the key as `raypipe.proof.entity.parse` reads it.

    Raises:
        UsageError: nothing is published for the date, or the key cannot be read, fits several entities or none.
        DataError: the run's SQL can no longer run.
        ModelError: the run's artifact cannot be loaded.
    """
    started = time.perf_counter()
    known = published.find(client, loaded.config.pipeline, day)
    key = entity.parse(client, words, known.manifest)
    rows = entity.rows(client, known, key, loaded.config.source.table)
    _require_one(known, key, {tuple(row.texts[name] for name in known.manifest.keys) for row in rows})
    loading = time.perf_counter()
    package = load_package(known.manifest.artifact_uri, known.manifest.artifact_sha256, client)
    model_seconds = time.perf_counter() - loading
    kept = published.fingerprints(client, known.run.run_id)
    scored = score(known, package, rows, kept, loaded.config.features) if rows else None
    result = _explained(client, known, key, rows, scored)
    seconds = time.perf_counter() - started - model_seconds
    return replace(result, seconds=round(seconds, 3), model_seconds=round(model_seconds, 3))


def _require_one(known: Published, key: Key, entities: set[tuple[str | None, ...]]) -> None:
    if len(entities) <= 1:
        return
    columns = zip(known.manifest.keys, zip(*sorted(entities, key=str), strict=True), strict=True)
    differing = [[f"{name}={value}" for value in values] for name, values in columns if len(set(values)) > 1]
    listed = [" ".join(parts) for parts in zip(*differing, strict=True)]
    more = f" and {len(listed) - SHOWN_ENTITIES} more" if len(listed) > SHOWN_ENTITIES else ""
    raise UsageError(
        f"The key {key} fits several entities of {known.run.pipeline}",
        found=f"{'; '.join(listed[:SHOWN_ENTITIES])}{more}",
        allowed="a key that fits one entity",
        next_step=f"add columns of the key, such as {listed[0]}",
    )


def _explained(client: Client, known: Published, key: Key, rows: Sequence[Row], scored: Scored | None) -> Why:
    texts = rows[0].texts if rows else key.values
    whole = {name: texts[name] for name in known.manifest.keys if name in texts}
    found = prediction.find(client, known, texts, scored) if prediction.is_comparable(known) else None
    predictions = found.published if found else ()
    rejection = "" if predictions else prediction.rejection(client, known, whole)
    if not rows and not predictions and not rejection:
        raise _unknown(known, key)
    expected = found.expected if found else None
    compared = bool(found) and not rejection
    causes = tuple(_causes(known, rows, scored, expected, predictions)) if compared else ()
    return Why(
        known.run,
        whole,
        scored,
        expected,
        predictions,
        rejection,
        not causes if compared else None,
        causes,
        tuple(_notes(client, known, scored, is_equal=compared and not causes)),
    )


def _unknown(known: Published, key: Key) -> UsageError:
    manifest = known.manifest
    return UsageError(
        f"The population of {manifest.pipeline} on {manifest.date} has no entity {key}",
        found=f"no row in the source now, and neither a prediction nor a rejection of the run {manifest.run_id}",
        allowed=f"a key of {', '.join(manifest.keys)}",
        next_step="correct the key, or name another date with --date",
    )


def _causes(
    known: Published,
    rows: Sequence[Row],
    scored: Scored | None,
    expected: Prediction | None,
    predictions: Sequence[Prediction],
) -> list[str]:
    causes = []
    if not rows:
        causes.append("the entity is no longer in the source")
    if len(rows) > 1 and known.manifest.duplicates != "keep_one":
        causes.append(f"the source has {len(rows)} rows of the entity now")
    if not predictions and scored and scored.changed is not None:
        causes.append("the run read the entity, but the view has no row of it")
    elif not predictions:
        causes.append("the view has no row of the entity: it has come into the source since, or its row is gone")
    if len(predictions) > 1:
        causes.append(f"the view shows {len(predictions)} rows of the entity for the run")
    if scored and expected and predictions and not _is_close(expected.score, predictions[0].score):
        causes.append(_changed_features(known, scored))
    return causes


def _is_close(now: float, then: float) -> bool:
    """Compare with the tolerance of the golden rows."""
    return abs(now - then) <= TOLERANCE * max(1.0, abs(then))


def _changed_features(known: Published, scored: Scored) -> str:
    if scored.changed is None:
        advice = f"`raypipe audit {known.run.pipeline} --date {known.run.date}` shows the columns that changed"
        return f"the features changed since; the run's sample of fingerprints lacks this entity, but {advice}"
    if not scored.changed:
        return "the features are those that the run read, but the model scores them differently here"
    return f"columns changed since the run read them: {', '.join(scored.changed)}"


def _notes(client: Client, known: Published, scored: Scored | None, *, is_equal: bool) -> list[str]:
    notes = []
    if not prediction.is_comparable(known):
        notes.append("the run does not publish its scores to ml_model_predictions, so nothing was compared")
    champion = aliases.current(client, known.run.pipeline, aliases.CHAMPION)
    if champion is not None and champion.version != known.run.model_version:
        notes.append(f"the champion is another version now, {champion.version}; the run's own version scored here")
    if is_equal and scored and scored.changed:
        notes.append(f"columns changed since, without an effect on the score: {', '.join(scored.changed)}")
    return notes
