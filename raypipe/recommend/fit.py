"""Fit a recommender: judge it on the readers' next articles, then fit it again on all days."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import KEY_HASH, MATRIX, Contract, key_hash, matrix
from raypipe.artifact.package import Package, load_package, pack
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.data.days import end_of_day
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, DataError, RaypipeError
from raypipe.evaluation.decision import Decision
from raypipe.fit.fitted import Fitted
from raypipe.fit.recipe import Recipe, frozen
from raypipe.models.model import Rows, answer
from raypipe.progress import Progress
from raypipe.recommend import catalogue as catalogues
from raypipe.recommend import evaluation, interactions
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.evaluation import Holdout
from raypipe.recommend.histories import INPUTS, Users
from raypipe.recommend.hybrid import HybridModel
from raypipe.recommend.parameters import TEST_DAYS, HybridParameters
from raypipe.recommend.ranker import Ranker
from raypipe.recommend.recommender import fit_recommender
from raypipe.registry.record import Registered

Array = npt.NDArray[Any]

METRIC = "ndcg"
K = 10
READER = "reader"
# Enough users for the distribution of scoring's rows, and for golden rows.
SAMPLED_USERS = 20_000
BASELINES: dict[str, dict[str, Any]] = {
    "popularity": {"als": 0, "content": 0, "popularity": 1, "freshness": 0},
    "the newest": {"als": 0, "content": 0, "popularity": 0, "freshness": 1},
}


@dataclass(frozen=True)
class Backtest:
    """The knowledge at the end of a day, and the articles read on the days after it.

    Attributes:
        at: the end of the day.
        readers: the users of `held`, described by their histories.
    """

    at: datetime
    held: Holdout
    catalogue: Catalogue
    readers: Users

    def lists(self, params: HybridParameters) -> Array:
        """Return lists for the readers, (users, K), by a recommender fitted on the knowledge of that day."""
        # The factorisation takes most of the time, and does not matter without a weight.
        train = self.held.train if params.als else self.held.train.take(np.zeros(0, np.int64))
        model = fit_recommender(train, self.catalogue, params)
        return Ranker(model, at=self.at, n=K).rank(self.readers).lists(len(self.readers.brand_ids), K)


def fit_version(client: Client, recipe: Recipe, name: str, champion: Registered | None, progress: Progress) -> Fitted:
    """Fit and judge one version.

    A recommender fitted on earlier days is judged on the reads of the last `test_days` days; the version itself learns
    from all days. It takes over if it is better than the strongest baseline and, where its parameters differ from the
    champion's, better than a recommender with the champion's parameters on the same rows. With equal parameters it
    takes over because it is newer: only it knows the day's articles.

    Raises:
        ConfigError: a parameter of the recommender cannot be used.
        DataError: there are no reads, or no reads of new articles in the test days.
    """
    started = time.perf_counter()
    params = HybridParameters.from_mapping({key: value for key, value in recipe.params.items() if key != TEST_DAYS})
    recipe = _with_parameters(recipe, params)
    contract = frozen(client, recipe)
    progress("reading articles and reads up to the test days", 0, 0)
    day = recipe.test_date
    catalogue, reads = _catalogue(client, recipe, params, day), _reads(client, recipe, day)
    pairs = interactions.read(reads, catalogue.ids, keys=[READER])
    backtest = _backtest(client, recipe, params, reads)
    # Only the pairs are needed from here on, which take a third of the memory.
    del reads
    progress(f"fitting on {len(backtest.held.train):,} pairs of {backtest.held.train.user_count:,} readers", 0, 0)
    lists = {"model": backtest.lists(params)}
    lists |= {baseline: backtest.lists(replace(params, **weights)) for baseline, weights in BASELINES.items()}
    judged = {name: _judged(backtest, own, recipe) for name, own in lists.items()}
    rival, warning = _rival(client, champion, params)
    decision = _decide(backtest, lists, backtest.lists(rival) if rival else None, judged, recipe)
    progress("fitting on all days", 0, 0)
    model = HybridModel(fit_recommender(pairs, catalogue, params))
    rows = _sample(client, recipe, contract)
    package = Package(recipe.family, contract, fit_bins(rows.x, answer(model, rows).scores), 0.0, (), model)
    baselines = {baseline: {"description": f"by {baseline}", **judged[baseline]} for baseline in BASELINES}
    history = {"pairs": len(pairs), "readers": pairs.user_count, "articles": len(catalogue), "dropped": pairs.dropped}
    evaluated = {"test": judged["model"], "baselines": baselines, "decision": decision.to_json(), "history": history}
    return Fitted(
        pack(package, rows, evaluated),
        package,
        history,
        {"train": len(pairs), "validation": 0, "test": len(backtest.held.test)},
        {},
        judged["model"],
        baselines,
        decision,
        (warning,) if warning else (),
        rows.x,
        time.perf_counter() - started,
    )


def _with_parameters(recipe: Recipe, params: HybridParameters) -> Recipe:
    """Return the recipe with the model's parameters bound in its queries, which scoring must bind as well."""
    own = {
        "event_types": list(params.event_weights),
        "event_weights": [float(weight) for weight in params.event_weights.values()],
        "half_life_days": float(params.half_life_days),
        "popularity_half_life_days": float(params.popularity_half_life_days),
    }
    snapshots = tuple(replace(snapshot, parameters={**snapshot.parameters, **own}) for snapshot in recipe.snapshots)
    return replace(recipe, parameters={**recipe.parameters, **own}, snapshots=snapshots)


def test_days(recipe: Recipe) -> int:
    """Return the number of days at the end that judge a version.

    Raises:
        ConfigError: the parameter is not a number of days.
    """
    days = recipe.params.get(TEST_DAYS, 1)
    if type(days) is not int or days < 1:
        raise ConfigError(
            f"model.params.{TEST_DAYS} is not a number of days", found=repr(days), allowed="a whole number from 1"
        )
    return days


def _backtest(client: Client, recipe: Recipe, params: HybridParameters, reads: pa.Table) -> Backtest:
    """Split the reads up to the test date into those of earlier days and the readers' next articles."""
    day = recipe.test_date - timedelta(days=test_days(recipe))
    at = end_of_day(day, recipe.snapshots[-1].parameters["timezone"])
    catalogue = _catalogue(client, recipe, params, day)
    before, after = interactions.read_together([_reads(client, recipe, day), reads], catalogue.ids, keys=[READER])
    held = evaluation.next_reads(before, after, since=int(at.timestamp()))
    return Backtest(at, held, catalogue, _readers(held, catalogue))


def _readers(held: Holdout, catalogue: Catalogue) -> Users:
    """Return the users of a holdout, described by their training histories alone."""
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


def _judged(backtest: Backtest, lists: Array, recipe: Recipe) -> dict[str, Any]:
    seed, articles = recipe.shares.seed, len(backtest.catalogue)
    return evaluation.evaluate(lists, backtest.held, articles, k=K, resamples=recipe.resamples, seed=seed)


def _rival(
    client: Client, champion: Registered | None, params: HybridParameters
) -> tuple[HybridParameters | None, str | None]:
    """Return the champion's parameters if they differ, or the reason why they cannot be read."""
    if champion is None:
        return None, None
    uri, sha256 = champion.artifact_uri, champion.artifact_sha256
    try:
        model = load_package(uri, sha256, client, pipeline=champion.pipeline, version=champion.version).model
    except RaypipeError as error:
        return None, f"the champion could not be compared on the same rows: {error.problem}"
    if not isinstance(model, HybridModel):
        return None, "the champion is not a recommender, so it was not compared"
    its_params = model.recommender.params
    return (None if its_params == params else its_params), None


def _decide(
    backtest: Backtest,
    lists: Mapping[str, Array],
    rival: Array | None,
    judged: Mapping[str, Mapping[str, Any]],
    recipe: Recipe,
) -> Decision:
    values = {name: float(metrics[METRIC]["value"]) for name, metrics in judged.items()}
    strongest = max(BASELINES, key=lambda name: values[name])
    above = values["model"] - values[strongest]
    if above <= 0 or rival is None:
        verdict = "above" if above > 0 else "not above"
        gain = _gain(backtest, lists["model"], lists[strongest], recipe)
        against = f"the strongest baseline ({strongest}, {values[strongest]:.4f})"
        reason = f"{METRIC}@{K} {values['model']:.4f}, {verdict} {against}"
        return Decision(above > 0, reason, METRIC, strongest, above, gain["low"], gain["high"])
    gain = _gain(backtest, lists["model"], rival, recipe)
    better = gain["low"] is not None and gain["low"] > 0
    verdict = f"{'' if better else 'not '}better by more than noise"
    reason = f"{verdict} than the champion's parameters on the same rows: {METRIC}@{K} {gain['value']:+.4f}"
    return Decision(better, reason, METRIC, "champion", gain["value"], gain["low"], gain["high"])


def _gain(backtest: Backtest, lists: Array, other: Array, recipe: Recipe) -> Mapping[str, float | None]:
    seed, resamples = recipe.shares.seed, recipe.resamples
    return evaluation.gain(lists, other, backtest.held, k=K, resamples=resamples, seed=seed)[METRIC]


def _catalogue(client: Client, recipe: Recipe, params: HybridParameters, day: date) -> Catalogue:
    table = client.table(load(recipe.folder / "articles.sql").text, _as_of(recipe, day))
    if not table.num_rows:
        raise DataError(
            f"There is no article to recommend on {day}",
            found=f"0 rows from {recipe.folder / 'articles.sql'}",
            next_step="check editorial_articles: status published, and publish_time in the days before that date",
        )
    return catalogues.read(table, content=params.content_fields, width=params.content_width)


def _reads(client: Client, recipe: Recipe, day: date) -> pa.Table:
    """Read the interactions up to a day; a hash stands for the reader, as the ids would fill the memory."""
    sql = load(recipe.folder / "interactions.sql").text
    columns = f"{key_hash(recipe.keys)} AS {READER}, article_id, weight, last_interaction_at"
    return client.table(f"SELECT {columns} FROM (\n{sql}\n)", _as_of(recipe, day))


def _as_of(recipe: Recipe, day: date) -> dict[str, Any]:
    return {**recipe.snapshots[-1].parameters, "date": day, "until": day}


def _sample(client: Client, recipe: Recipe, contract: Contract) -> Rows:
    """Read a fixed sample of the snapshot's users."""
    snapshot = recipe.snapshots[-1]
    table = client.table(
        f"SELECT * FROM (\n{contract.select(unsliced(recipe.features_sql.text))}\n)"
        f" ORDER BY {KEY_HASH} LIMIT {SAMPLED_USERS}",
        snapshot.parameters,
    ).combine_chunks()
    if not table.num_rows:
        raise DataError(
            f"There are no users to recommend articles to on {snapshot.date}",
            found=f"0 rows from {recipe.features_sql.source}",
        )
    inputs = {name: table.column(name).combine_chunks() for name in INPUTS if name in table.schema.names}
    at = end_of_day(snapshot.date, snapshot.parameters["timezone"])
    return Rows(matrix(table.column(MATRIX), len(contract.columns)), inputs, at)
