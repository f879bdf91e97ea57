"""Read what is known of a pipeline's model: its versions, its champions, its scores and its explanations."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from raypipe.clickhouse.schema import current_views
from raypipe.clickhouse.statements import identifier
from raypipe.config.load import Loaded
from raypipe.evaluation.metrics import METRICS
from raypipe.pages.charts import Point
from raypipe.registry import aliases, models
from raypipe.registry.aliases import CHALLENGER, CHAMPION, Period
from raypipe.registry.record import NOT_FITTED, Registered
from raypipe.report.published import Published, published
from raypipe.report.source import Source
from raypipe.score.runs import Run

BINS = 24
EXPLAINED = 5
SHOWN = 8
IMPORTANT = 15


@dataclass(frozen=True)
class Spread:
    """The scores of a run: counts in bins of equal width from low to high, and the mean."""

    predictions: int
    low: float
    high: float
    mean: float
    counts: tuple[int, ...]
    unusable: int = 0


@dataclass(frozen=True)
class Explanation:
    """A prediction and the features that moved it most, largest first."""

    entity: str
    brand_id: str
    score: float
    contributions: Mapping[str, float]


@dataclass(frozen=True)
class Model:
    """A pipeline's model as the report shows it.

    Attributes:
        metric: the metric that decides on promotions.
        versions: fitted versions, newest first.
        periods: the champions, newest first.
        importance: name, importance and description of the champion's features, the most important first.
        latest: the newest committed run; None without one.
        rows: the newest published rows by name.
        levels: brand id, level, rows and mean score.
    """

    pipeline: str
    loaded: Loaded
    metric: str
    versions: tuple[Registered, ...] = ()
    champion: Registered | None = None
    challenger: Registered | None = None
    periods: tuple[Period, ...] = ()
    importance: tuple[tuple[str, float, str], ...] = ()
    latest: Run | None = None
    scores: Spread | None = None
    levels: tuple[tuple[str, str, int, float], ...] = ()
    explanations: tuple[Explanation, ...] = ()
    rows: Published | None = None

    @property
    def higher_is_better(self) -> bool:
        """Return the direction of the deciding metric."""
        spec = METRICS.get(self.metric)
        return spec is None or spec.higher_is_better

    @property
    def targets(self) -> frozenset[str]:
        """Return the tables that the pipeline publishes to."""
        return frozenset(publish.target for publish in self.loaded.config.publish)

    def fits(self, metric: str) -> list[Point]:
        """Return a metric on the test rows of each version, by the day of its registration."""
        points = []
        for version in self.versions:
            measured = tested(version).get(metric)
            if isinstance(measured, Mapping) and isinstance(measured.get("value"), float):
                days = (version.created_at.date(), measured["value"], measured.get("low"), measured.get("high"))
                points.append(Point(*days))
        return points


def tested(version: Registered | None) -> Mapping[str, Any]:
    """Return a version's evaluation on its test rows; {} if unknown."""
    test = version.evaluation.get("test", {}) if version else {}
    return test if isinstance(test, Mapping) else {}


def read(source: Source, loaded: Loaded, latest: Run | None) -> Model:
    """Read the model of a pipeline; `latest` is its newest committed run."""
    client, pipeline = source.client, loaded.config.pipeline
    versions = [version for version in models.list_models(client, pipeline) if version.status not in NOT_FITTED]
    by_name = {version.version: version for version in versions}
    named = aliases.named(client, pipeline)
    champion = by_name.get(named[CHAMPION].version) if CHAMPION in named else None
    known = champion or next(iter(versions), None)
    model = Model(
        pipeline,
        loaded,
        _metric(loaded, known),
        tuple(versions),
        champion,
        by_name.get(named[CHALLENGER].version) if CHALLENGER in named else None,
        tuple(aliases.history(client, pipeline, CHAMPION)),
        tuple(_importance(source, champion)),
    )
    if latest is None:
        return model
    return replace(
        model,
        latest=latest,
        scores=_spread(source, pipeline, latest.date),
        levels=tuple(_levels(source, pipeline, latest.date)),
        explanations=tuple(_explanations(source, loaded, latest)),
        rows=published(client, loaded, latest, limit=SHOWN),
    )


def _metric(loaded: Loaded, version: Registered | None) -> str:
    decision = version.evaluation.get("decision", {}) if version else {}
    named = decision.get("metric") if isinstance(decision, Mapping) else None
    return str(named or loaded.config.evaluate.metric)


def _importance(source: Source, champion: Registered | None) -> list[tuple[str, float, str]]:
    if champion is None:
        return []
    rows = source.rows("importance", "ml_model_features", model_id=champion.model_id)
    return [
        (row["feature_name"], float(row["feature_importance"]), row["description"])
        for row in rows
        if row["feature_importance"]
    ][:IMPORTANT]


def _spread(source: Source, pipeline: str, day: date) -> Spread | None:
    view = "raypipe_current_predictions"
    ranges = source.rows("score_range", view, pipeline=pipeline, date=day)
    if not ranges or not ranges[0]["predictions"]:
        return None
    row = ranges[0]
    if row["unusable"] == row["predictions"]:
        return Spread(row["predictions"], 0.0, 0.0, 0.0, (), row["unusable"])
    low, high = float(row["low"]), float(row["high"])
    if low == high:
        return Spread(row["predictions"], low, high, float(row["mean"]), (row["predictions"],), row["unusable"])
    counts = [0] * BINS
    for bin_ in source.rows("scores", view, pipeline=pipeline, date=day, low=low, high=high, bins=BINS):
        counts[int(bin_["bin"])] = int(bin_["predictions"])
    return Spread(row["predictions"], low, high, float(row["mean"]), tuple(counts), row["unusable"])


def _levels(source: Source, pipeline: str, day: date) -> list[tuple[str, str, int, float]]:
    rows = source.rows("levels", "raypipe_current_predictions", pipeline=pipeline, date=day)
    return [(row["brand_id"], row["prediction_class"], int(row["predictions"]), float(row["mean"])) for row in rows]


def _explanations(source: Source, loaded: Loaded, latest: Run) -> list[Explanation]:
    """Return the explained predictions with the highest scores, where a target has them."""
    for publish in loaded.config.publish:
        view = current_views.name(publish.target)
        columns = _columns(source, view)
        score = next((name for name in columns if name.endswith("_probability")), None)
        if score and {"feature_importance", "prediction_date", "user_id"} <= columns:
            fragments = {"view": identifier(view), "score": identifier(score)}
            rows = source.rows("explained", view, fragments, date=latest.date, most=EXPLAINED)
            return [
                Explanation(row["user_id"], row["brand_id"], float(row["score"]), parsed(row["feature_importance"]))
                for row in rows
            ]
    return []


def parsed(text: str) -> dict[str, float]:
    """Return the contributions of an explanation; {} where they cannot be read."""
    try:
        document = json.loads(text)
    except ValueError:
        return {}
    return {str(name): float(value) for name, value in document.items()} if isinstance(document, dict) else {}


def _columns(source: Source, view: str) -> set[str]:
    if view not in source.tables:
        return set()
    return {row[0] for row in source.client.rows(f"DESCRIBE TABLE {identifier(view)}")}


def newest_runs(history: Sequence[Any]) -> dict[str, Run]:
    """Return the newest committed run of each pipeline, by the date of its rows."""
    newest: dict[str, Run] = {}
    for night in history:
        for pipeline, run in night.published.items():
            newest.setdefault(pipeline, run)
    return newest
