"""Compare a demo's models with the best possible: the same test rows, scored by the latent truth.

version → the snapshots of its fit → its test rows with the truth's scores → the same metrics
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raypipe.clickhouse import tables
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, load
from raypipe.config.load import Loaded
from raypipe.data.slices import unsliced
from raypipe.demo.observable import observable
from raypipe.demo.publisher import MARK
from raypipe.errors import DataError
from raypipe.evaluation import checks, metrics
from raypipe.fit.recipe import Recipe, labels_of, recipe_of
from raypipe.fit.training_table import place
from raypipe.project import shipped
from raypipe.recommend import evaluation
from raypipe.recommend.backtest import K
from raypipe.recommend.evaluation import Holdout
from raypipe.recommend.interactions import Interactions, positions_of
from raypipe.recommend.sources import test_days
from raypipe.registry import models
from raypipe.registry.aliases import CHAMPION
from raypipe.registry.record import NOT_FITTED, Registered
from raypipe.registry.training_runs import newest

# The metrics to compare, and whether more is better.
COMPARED = {"auc": True, "rmse": False, "precision": True, "ndcg": True}


@dataclass(frozen=True)
class Reached:
    """One metric of a version on its test rows.

    Attributes:
        test_date: the snapshot of the test rows; for a recommender, the last of its test days.
        rows: the number of test rows; for a recommender, of readers.
        model: the version's value and interval (`value`, `low`, `high`).
        baseline: the name of the strongest baseline, '' if there is none.
        observable: the value of the best model of what can be observed, of the demo that `observable.py` describes;
            None for a pipeline without one.
        best: the value of the latent truth on the same rows; for an RMSE, the noise.
    """

    pipeline: str
    model_version: str
    status: str
    test_date: date
    rows: int
    metric: str
    model: Mapping[str, float | None]
    baseline: str
    baseline_value: float | None
    observable: float | None
    best: float | None


def best_reachable(pipeline: str) -> Statement | None:
    """Return the statement that scores a pipeline's entities by the latent truth, or None."""
    path = shipped() / "sql" / "demo" / f"best_reachable_{pipeline}.sql"
    return load(path) if path.exists() else None


def require_demo(client: Client) -> None:
    """Refuse a database without a known truth.

    Raises:
        DataError: the database is not a demo's.
    """
    if tables.describe(client, MARK) is None:
        raise DataError(
            f"The database {client.endpoint.database} is not a demo, so the best reachable model is unknown",
            found=f"no table {MARK}",
            next_step="name a demo's database with --url, or create a demo with `raypipe demo`",
        )


def measure(client: Client, loaded: Loaded) -> list[Reached]:
    """Compare a pipeline's champion, or else its latest version, with the best possible on its test rows.

    The result is empty if no version was fitted, or the latent truth has no score for the pipeline.
    """
    pipeline, config = loaded.config.pipeline, loaded.config
    statement, version = best_reachable(pipeline), _version(client, pipeline)
    its_fit = None if version is None else newest(client, version.model_id, "fit")
    if statement is None or version is None or its_fit is None:
        return []
    horizon = (config.label.horizon_days or 0) if config.label else 0
    recipe = recipe_of(client, loaded, its_fit.test_date + timedelta(days=horizon))
    rows, best = _listed(client, recipe, statement) if config.label is None else _scored(client, recipe, statement)
    return [
        _reached(version, recipe.test_date, rows, metric, value) for metric, value in best.items() if metric in COMPARED
    ]


def _version(client: Client, pipeline: str) -> Registered | None:
    fitted = [version for version in models.list_models(client, pipeline) if version.status not in NOT_FITTED]
    return models.find_alias(client, pipeline, CHAMPION) or next(iter(fitted), None)


def _reached(version: Registered, day: date, rows: int, metric: str, best: float | None) -> Reached:
    evaluation = version.evaluation
    known = {
        name: float(values[metric]["value"])
        for name, values in evaluation["baselines"].items()
        if (values.get(metric) or {}).get("value") is not None
    }
    strongest = (max if COMPARED[metric] else min)(known, key=lambda name: known[name]) if known else ""
    return Reached(
        version.pipeline,
        version.version,
        version.status,
        day,
        rows,
        metric,
        evaluation["test"][metric],
        strongest,
        known.get(strongest),
        observable().values.get((version.pipeline, metric)),
        best,
    )


def _scored(client: Client, recipe: Recipe, statement: Statement) -> tuple[int, dict[str, float | None]]:
    """Return the number of test rows, and the metric of their labels under the truth's scores."""
    snapshot = next(snapshot for snapshot in recipe.snapshots if "test" in snapshot.parts)
    keys = ", ".join(identifier(key) for key in recipe.keys)
    table = client.table(
        f"SELECT toFloat64(score) AS score, toFloat64(label) AS label\n"
        f"FROM (SELECT {keys} FROM (\n{unsliced(recipe.features_sql.text)}\n)) AS population\n"
        f"INNER JOIN (\n{unsliced(labels_of(recipe).text)}\n) AS labelled USING ({keys})\n"
        f"INNER JOIN (\n{statement.text}\n) AS truth USING ({keys})\n"
        f"WHERE {place(recipe.entity_id)} < {{test_share:Float64}}",
        {**snapshot.parameters, "split_seed": recipe.shares.seed, "test_share": recipe.shares.test},
    )
    score, label = (table.column(name).to_numpy() for name in ("score", "label"))
    checks.require_rows(label, score, "The best that can be reached")
    everyone = np.ones(len(label))
    if recipe.label_kind == "binary":
        return len(label), {"auc": metrics.Ranking(label, score).auc(everyone)}
    return len(label), {"rmse": metrics.rmse(label, score)(everyone)}


def _listed(client: Client, recipe: Recipe, statement: Statement) -> tuple[int, dict[str, float | None]]:
    """Return the number of test readers, and the quality of the truth's lists for them."""
    since = recipe.test_date - timedelta(days=test_days(recipe))
    table = client.table(
        statement.text,
        {**recipe.snapshots[-1].parameters, "date": since, "until": recipe.test_date, "length": K},
    ).combine_chunks()
    if not table.num_rows:
        raise DataError(
            "No reader of the demo read a new article in the test days",
            found=f"{since} and after",
            next_step="`raypipe demo --replace` with more --users",
        )
    listed, wanted = (table.column(name).combine_chunks() for name in ("articles", "wanted"))
    held, lists = _held(listed, wanted)
    quality = evaluation.evaluate(lists, held, 0, k=K, resamples=0)
    return table.num_rows, {name: quality[name]["value"] for name in ("precision", "ndcg")}


def _held(listed: pa.ListArray, wanted: pa.ListArray) -> tuple[Holdout, Any]:
    """Return the held-out readings, and the lists as positions: (readers, K), -1 behind the end of a list."""
    ids = pc.unique(pa.concat_arrays([listed.flatten(), wanted.flatten()]))
    readers, lengths = len(wanted), pc.list_value_length(wanted).to_numpy()
    items = positions_of(wanted.flatten(), ids)
    ones, times = np.ones(len(items), np.float32), np.zeros(len(items), np.int64)
    test = Interactions(np.repeat(np.arange(readers), lengths), items, ones, times, readers, len(ids))
    lists = np.full((readers, K), -1, np.int64)
    filled = np.arange(K) < pc.list_value_length(listed).to_numpy()[:, None]
    lists[filled] = positions_of(listed.flatten(), ids)
    return Holdout(test.take(np.zeros(0, np.int64)), test), lists
