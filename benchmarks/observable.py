"""Measure how far any model can get on the demo with what a publisher can observe, and not the latent truth.

    raypipe demo --users 50000 --seed 1 --last-date 2026-01-31 --replace
    python benchmarks/observable.py --save

A pipeline's own features and a few hundred more (observed.py), all snapshots that are old enough, and a large boosted
ensemble: nothing that would run every night. The rows of the test are those of the pipeline's own fit. --save writes
sql/demo/best_observable.json, which `raypipe reachable` shows.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from contest.rounds import say
from observed import Observed

from raypipe.artifact.contract import MATRIX, matrix
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.clickhouse.statements import identifier
from raypipe.config.load import load_pipeline
from raypipe.data.slices import unsliced
from raypipe.demo.observable import PATH
from raypipe.evaluation import metrics
from raypipe.evaluation.metrics import Metric
from raypipe.fit.recipe import Recipe, Snapshot, frozen, labels_of, recipe_of
from raypipe.fit.training_table import place
from raypipe.project import shipped

PIPELINES = ("churn", "conversion", "clicks", "engagement")
ROUNDS, STOPPING = 2000, 50
PARAMS = {"tree_method": "hist", "eta": 0.05, "subsample": 0.7, "colsample_bytree": 0.4, "lambda": 5.0, "max_bin": 128}
DEPTHS, WEIGHTS = (4, 6, 8), (20, 40, 80)

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Rows:
    x: Array
    y: Array
    entity: Array

    def take(self, where: Array) -> Rows:
        return Rows(self.x[where], self.y[where], self.entity[where])


def parts(client: Client, recipe: Recipe, observed: Observed) -> dict[str, Rows]:
    """Return the rows by part: the features of the pipeline beside all that can be observed."""
    contract = frozen(client, recipe)
    found: dict[str, list[Rows]] = {"train": [], "validation": [], "test": []}
    for snapshot in recipe.snapshots:
        for part, rows in _of_snapshot(client, recipe, contract, snapshot, observed):
            found[part].append(rows)
    return {
        part: Rows(*(np.concatenate([getattr(rows, name) for rows in several]) for name in ("x", "y", "entity")))
        for part, several in found.items()
    }


def _of_snapshot(
    client: Client, recipe: Recipe, contract: Any, snapshot: Snapshot, observed: Observed
) -> Iterator[tuple[str, Rows]]:
    keys = ", ".join(identifier(key) for key in recipe.keys)
    article = "cityHash64(article_id)" if "article_id" in recipe.keys else "0"
    table = client.table(
        f"SELECT {MATRIX}, toFloat64(label) AS label, cityHash64(company_id, brand_id, user_id) AS reader,"
        f" {article} AS article, {place(recipe.entity_id)} AS place\n"
        f"FROM (\n{contract.select(unsliced(recipe.features_sql.text))}\n) AS rows\n"
        f"ANY INNER JOIN (\n{unsliced(labels_of(recipe).text)}\n) AS labelled USING ({keys})",
        {**snapshot.parameters, **contract.parameters, "split_seed": recipe.shares.seed},
    )
    reader, articles, label, at = (table.column(name).to_numpy() for name in ("reader", "article", "label", "place"))
    own = matrix(table.column(MATRIX).combine_chunks(), len(contract.columns))
    seen = observed.of(snapshot.date, reader, articles if article != "0" else None)
    rows = Rows(np.hstack([own, seen]), label, reader)
    held = recipe.shares.test + recipe.shares.validation
    for part, inside in {
        "test": at < recipe.shares.test,
        "validation": (at >= recipe.shares.test) & (at < held),
        "train": at >= held,
    }.items():
        if part in snapshot.parts:
            yield part, rows.take(inside)


def ensemble(rows: dict[str, Rows], kind: str, bags: int) -> Array:
    """Return the mean prediction of several boosted models for the test rows."""
    objective = {"binary": ("binary:logistic", "auc"), "number": ("reg:squarederror", "rmse")}[kind]
    train = xgboost.QuantileDMatrix(rows["train"].x, rows["train"].y, max_bin=PARAMS["max_bin"])
    validation = xgboost.DMatrix(rows["validation"].x, rows["validation"].y)
    test, predictions = xgboost.DMatrix(rows["test"].x), []
    for bag in range(bags):
        depth, weight = DEPTHS[bag % 3], WEIGHTS[bag % 3]
        params = {**PARAMS, "objective": objective[0], "eval_metric": objective[1], "seed": bag}
        params |= {"max_depth": depth, "min_child_weight": weight}
        model = xgboost.train(
            params,
            train,
            ROUNDS,
            evals=[(validation, "validation")],
            early_stopping_rounds=STOPPING,
            verbose_eval=False,
        )
        prediction = model.predict(test, iteration_range=(0, model.best_iteration + 1))
        predictions.append(prediction)
        say(f"  depth {depth}: {model.best_iteration} rounds, {_metric(kind, rows['test'], prediction)}")
    return np.asarray(np.mean(predictions, axis=0))


def _metric(kind: str, test: Rows, prediction: Array) -> dict[str, Any]:
    """Return the metric with its interval over entities."""
    name = "auc" if kind == "binary" else "rmse"
    measure: Metric = metrics.rmse(test.y, prediction)
    if kind == "binary":
        measure = metrics.Ranking(test.y, prediction).auc
    entities = metrics.entities_of(test.entity)
    draws = [measure(weights) for weights in metrics.resamples(len(test.y), 200, 7, entities=entities)]
    low, high = metrics.percentile_interval(np.array(draws))
    return {"metric": name, "value": measure(np.ones(len(test.y))), "low": low, "high": high}


def measured(client: Client, pipeline: str, observed: Observed, bags: int) -> dict[str, Any]:
    # All snapshots that are old enough, and not only the three of the pipeline's own fit.
    loaded = load_pipeline(pipeline, shipped() / "configs", ["split.train_snapshots=50"], environ={})
    recipe = recipe_of(client, loaded, None)
    rows = parts(client, recipe, observed)
    say(f"{pipeline}: " + ", ".join(f"{part} {each.x.shape}" for part, each in rows.items()))
    found = _metric(recipe.label_kind, rows["test"], ensemble(rows, recipe.label_kind, bags))
    say(f"{pipeline}: {found}")
    return {**found, "test_date": f"{recipe.test_date}", "rows": len(rows["test"].y)}


def save(client: Client, best: Mapping[str, Any], command: str) -> None:
    """Add figures to those that ship, or replace them if they are of another demo."""
    settings = dict(client.rows("SELECT setting, value FROM demo_settings"))
    demo = {name: settings[name] for name in ("seed", "users", "first_date", "last_date", "drift_on")}
    kept = json.loads(PATH.read_text())
    others = kept["best"] if kept["demo"] == demo else {}
    PATH.write_text(json.dumps({"command": command, "demo": demo, "best": {**others, **best}}, indent=2) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="chdb:.raypipe/clickhouse")
    parser.add_argument("--pipelines", nargs="+", default=PIPELINES)
    parser.add_argument("--bags", type=int, default=3)
    parser.add_argument("--save", action="store_true")
    arguments = parser.parse_args()
    with connected(arguments.url, None, None) as endpoint, Client(endpoint) as client:
        observed = Observed.read(client)
        best = {name: measured(client, name, observed, arguments.bags) for name in arguments.pipelines}
        if arguments.save:
            save(client, best, "python benchmarks/observable.py --save")
    print(json.dumps(best, indent=2))


if __name__ == "__main__":
    main()
