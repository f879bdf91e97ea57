"""Read the rows of a fit, fit them with XGBoost alone, and print the seconds of both as JSON.

python -m contest.plain_fit URL ROUNDS OVERRIDE
"""

from __future__ import annotations

import json
import sys
from time import perf_counter

import xgboost

from contest.arena import PIPELINE
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.connect import connected
from raypipe.config.load import load_pipeline
from raypipe.fit.labelled import read_learned
from raypipe.fit.recipe import frozen, recipe_of
from raypipe.fit.training_table import scratch_name, telling, written
from raypipe.project import shipped


def main(url: str, rounds: str, override: str) -> None:
    loaded = load_pipeline(PIPELINE, shipped() / "configs", overrides=[override], url=url)
    started = perf_counter()
    with connected(url) as endpoint, Client(endpoint) as client:
        recipe = recipe_of(client, loaded, None)
        with written(client, recipe, frozen(client, recipe), scratch_name(PIPELINE)) as table:
            table = telling(client, table)
            train = read_learned(client, table)["train"]
    read = perf_counter()
    params = {**recipe.params, "monotone_constraints": tuple(table.read.monotone), "seed": recipe.shares.seed}
    xgboost.train(params, xgboost.QuantileDMatrix(train.x, train.y), num_boost_round=int(rounds))
    seconds = {"rows": len(train.y), "read": read - started, "train": perf_counter() - read}
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
