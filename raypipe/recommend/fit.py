"""Fitting a recommender: judged on what readers read next, then fitted again on everything up to the day."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import KEY_HASH, MATRIX, Contract, matrix
from raypipe.artifact.package import Package, load_package, pack
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.data.days import end_of_day
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, DataError, RaypipeError
from raypipe.evaluation.decision import Decision
from raypipe.fit.fitting import Fitted, Progress, frozen
from raypipe.fit.recipe import Champion, Recipe
from raypipe.models.protocol import Rows, answer
from raypipe.recommend import catalogue as catalogues
from raypipe.recommend import interactions, ranking, recommender
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.histories import INPUTS, Users
from raypipe.recommend.hybrid import TEST_DAYS, Recommendations
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.ranking import HeldOut
from raypipe.recommend.recommender import Hybrid

Array = npt.NDArray[Any]

METRIC = "ndcg"
K = 10
# Enough to know the distribution of what scoring will see, and for golden rows.
SAMPLED_USERS = 20_000
BASELINES = {
    "popularity": Hybrid(als=0, content=0, popularity=1, freshness=0),
    "the newest": Hybrid(als=0, content=0, popularity=0, freshness=1),
}


@dataclass(frozen=True)
class Trial:
    """What was known at the end of a day, and what its readers read in the days after it.

    Attributes:
        at: the end of that day.
        readers: the users of `held`, known by what they had read.
    """

    at: Any
    held: HeldOut
    catalogue: Catalogue
    readers: Users


def fit_version(client: Client, recipe: Recipe, name: str, champion: Champion | None, progress: Progress) -> Fitted:
    """Fits and judges one version.

    It is judged by what readers read in the last `test_days` days, with a model fitted on the days before them; the
    version itself then learns from all days. It takes over when it finds more than the strongest baseline does, and,
    where its parameters are other ones than the champion's, more than those parameters find on the same rows.
    With the same parameters it takes over for being a day younger: nothing else knows the day's articles.

    Args:
        client: where the data is.
        recipe: what to fit; `model.params` are those of the recommender, and `test_days`.
        name: unused: interactions and articles are read, not copied.
        champion: what to compare with.
        progress: told in words what is going on.

    Raises:
        ConfigError: a parameter of the recommender cannot be used.
        DataError: nobody read anything, or nothing new in the test days.
    """
    started = time.perf_counter()
    params = Hybrid.from_mapping({key: value for key, value in recipe.params.items() if key != TEST_DAYS})
    recipe = _with_parameters(recipe, params)
    contract = frozen(client, recipe)
    progress("reading what was read until the test days")
    trial = _trial(client, recipe, params)
    progress(f"fitting on {len(trial.held.train):,} pairs of {trial.held.train.user_count:,} readers")
    lists = {"model": _tried(trial, params)}
    lists |= {baseline: _tried(trial, _like(params, weights)) for baseline, weights in BASELINES.items()}
    judged = {name: _judged(trial, found, recipe) for name, found in lists.items()}
    rival, warning = _rival(champion, params)
    decision = _decide(trial, lists, None if rival is None else _tried(trial, rival), judged, recipe)
    progress("fitting on everything")
    day = recipe.test_date
    catalogue = _catalogue(client, recipe, params, day)
    pairs = interactions.read(_interactions(client, recipe, day), catalogue.ids, keys=recipe.keys)
    model = Recommendations(recommender.fit(pairs, catalogue, params))
    rows = _sample(client, recipe, contract)
    package = Package(recipe.family, contract, fit_bins(rows.x, answer(model, rows).scores), 0.0, (), model)
    described = {baseline: {"description": f"by {baseline}", **judged[baseline]} for baseline in BASELINES}
    history = {"pairs": len(pairs), "readers": pairs.user_count, "articles": len(catalogue), "dropped": pairs.dropped}
    evaluation = {"test": judged["model"], "baselines": described, "decision": decision.to_json(), "history": history}
    return Fitted(
        pack(package, rows, evaluation),
        package,
        history,
        {"train": len(pairs), "validation": 0, "test": len(trial.held.test)},
        {},
        judged["model"],
        described,
        decision,
        () if warning is None else (warning,),
        rows.x,
        time.perf_counter() - started,
    )


def _with_parameters(recipe: Recipe, params: Hybrid) -> Recipe:
    """The recipe whose queries also bind what the model's parameters say; scoring has to read by the same."""
    own = {
        "event_types": list(params.event_weights),
        "event_weights": [float(weight) for weight in params.event_weights.values()],
        "half_life_days": float(params.half_life_days),
        "popularity_half_life_days": float(params.popularity_half_life_days),
    }
    snapshots = tuple(replace(one, parameters={**one.parameters, **own}) for one in recipe.snapshots)
    return replace(recipe, parameters={**recipe.parameters, **own}, snapshots=snapshots)


def test_days(recipe: Recipe) -> int:
    """How many of the last days a version is judged by.

    Raises:
        ConfigError: the parameter is no such number.
    """
    given = recipe.params.get(TEST_DAYS, 1)
    if type(given) is not int or given < 1:
        raise ConfigError(f"model.params.{TEST_DAYS} is not a number of days", found=repr(given), allowed="from 1")
    return given


def _trial(client: Client, recipe: Recipe, params: Hybrid) -> Trial:
    day = recipe.test_date - timedelta(days=test_days(recipe))
    at = end_of_day(day, recipe.snapshots[-1].parameters["timezone"])
    catalogue = _catalogue(client, recipe, params, day)
    tables = [_interactions(client, recipe, until) for until in (day, recipe.test_date)]
    before, after = interactions.read_together(tables, catalogue.ids, keys=recipe.keys)
    held = ranking.next_reads(before, after, since=int(at.timestamp()))
    return Trial(at, held, catalogue, _readers(held, catalogue))


def _readers(held: HeldOut, catalogue: Catalogue) -> Users:
    """The users of an evaluation, known by their training histories alone."""
    brands = np.zeros(held.train.user_count, np.int64)
    brands[held.train.users] = catalogue.brands[held.train.items]
    histories = held.train.matrix()[held.users]
    ends = pa.array(histories.indptr, pa.int32())
    return Users(
        catalogue.brand_ids.take(pa.array(brands[held.users])),
        pa.array([""] * len(held.users)),
        pa.ListArray.from_arrays(ends, pa.array(histories.indices, pa.int32())),
        pa.ListArray.from_arrays(ends, pa.array(histories.data, pa.float32())),
    )


def _like(params: Hybrid, weights: Hybrid) -> Hybrid:
    """The parameters with other weights of the parts."""
    parts = {name: getattr(weights, name) for name in ("als", "content", "popularity", "freshness")}
    return replace(params, **parts)


def _tried(trial: Trial, params: Hybrid) -> Array:
    """Lists for the readers of a trial, (users, K), by a model that is fitted on what was known."""
    # Without its weight the factorisation, which takes most of the time, says nothing.
    nobody = trial.held.train.take(np.zeros(0, np.int64))
    model = recommender.fit(trial.held.train if params.als else nobody, trial.catalogue, params)
    return Ranker(model, at=trial.at, n=K).rank(trial.readers).lists(len(trial.readers.brand_ids), K)


def _judged(trial: Trial, lists: Array, recipe: Recipe) -> dict[str, Any]:
    seed = recipe.shares.seed
    return ranking.evaluate(lists, trial.held, len(trial.catalogue), k=K, resamples=recipe.resamples, seed=seed)


def _rival(champion: Champion | None, params: Hybrid) -> tuple[Hybrid | None, str | None]:
    """The champion's parameters where they are other ones; or why they could not be read."""
    if champion is None:
        return None, None
    try:
        model = load_package(champion.artifact_uri, champion.artifact_sha256).model
    except RaypipeError as error:
        return None, f"the champion could not be compared on the same rows: {error.problem}"
    if not isinstance(model, Recommendations):
        return None, "the champion is no recommender, and was not compared"
    standing = model.recommender.params
    return (None if standing == params else standing), None


def _decide(
    trial: Trial,
    lists: Mapping[str, Array],
    rival: Array | None,
    judged: Mapping[str, Mapping[str, Any]],
    recipe: Recipe,
) -> Decision:
    def values(name: str) -> float:
        return float(judged[name][METRIC]["value"])

    strongest = max(BASELINES, key=values)
    above = values("model") - values(strongest)
    if above <= 0 or rival is None:
        verdict = "above" if above > 0 else "not above"
        gained = _gain(trial, lists["model"], lists[strongest], recipe)
        against = f"the strongest baseline ({strongest}, {values(strongest):.4f})"
        reason = f"{METRIC}@{K} {values('model'):.4f}, {verdict} {against}"
        return Decision(above > 0, reason, METRIC, strongest, above, gained["low"], gained["high"])
    gained = _gain(trial, lists["model"], rival, recipe)
    better = gained["low"] is not None and gained["low"] > 0
    verdict = f"{'' if better else 'not '}better by more than noise"
    reason = f"{verdict} than the champion's parameters on the same rows: {METRIC}@{K}"
    return Decision(
        better, f"{reason} {gained['value']:+.4f}", METRIC, "champion", gained["value"], gained["low"], gained["high"]
    )


def _gain(trial: Trial, lists: Array, other: Array, recipe: Recipe) -> Mapping[str, float | None]:
    return ranking.gain(lists, other, trial.held, k=K, resamples=recipe.resamples, seed=recipe.shares.seed)[METRIC]


def _catalogue(client: Client, recipe: Recipe, params: Hybrid, day: date) -> Catalogue:
    table = _table(client, recipe, "articles", day)
    if not table.num_rows:
        raise DataError(
            f"There is no article to recommend on {day}",
            found=f"0 rows from {recipe.folder / 'articles.sql'}",
            next_step="check editorial_articles: status published, and publish_time in the days before that date",
        )
    return catalogues.read(table, content=params.content_fields, width=params.content_width)


def _interactions(client: Client, recipe: Recipe, day: date) -> pa.Table:
    return _table(client, recipe, "interactions", day)


def _table(client: Client, recipe: Recipe, name: str, day: date) -> pa.Table:
    parameters = {**recipe.snapshots[-1].parameters, "date": day, "until": day}
    return client.table(load(recipe.folder / f"{name}.sql").text, parameters)


def _sample(client: Client, recipe: Recipe, contract: Contract) -> Rows:
    """Some users of the snapshot, the same ones each time."""
    snapshot = recipe.snapshots[-1]
    table = client.table(
        f"SELECT * FROM (\n{contract.select(unsliced(recipe.features_sql.text))}\n)"
        f" ORDER BY {KEY_HASH} LIMIT {SAMPLED_USERS}",
        snapshot.parameters,
    ).combine_chunks()
    if not table.num_rows:
        raise DataError(
            f"There is nobody to recommend to on {snapshot.date}", found=f"0 rows from {recipe.features_sql.source}"
        )
    inputs = {name: table.column(name).combine_chunks() for name in INPUTS if name in table.schema.names}
    at = end_of_day(snapshot.date, snapshot.parameters["timezone"])
    return Rows(matrix(table.column(MATRIX), len(contract.columns)), inputs, at)
