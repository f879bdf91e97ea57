"""Fit a recommender: judge it on the readers' next articles, then fit it again on all days."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import KEY_HASH, MATRIX, Contract, matrix
from raypipe.artifact.package import Package, load_package, pack
from raypipe.clickhouse.client import Client
from raypipe.data.days import end_of_day
from raypipe.data.slices import unsliced
from raypipe.errors import DataError, RaypipeError, UsageError
from raypipe.evaluation.challenges import ALPHA, error_of
from raypipe.evaluation.decision import Decision, first_version
from raypipe.fit.fitted import Fitted
from raypipe.fit.recipe import Recipe, frozen
from raypipe.models.model import Rows, answer
from raypipe.progress import Progress
from raypipe.recommend import sources
from raypipe.recommend.backtest import Judged, K, judge
from raypipe.recommend.catalogue import Catalogue
from raypipe.recommend.choice import METRIC
from raypipe.recommend.histories import INPUTS
from raypipe.recommend.hybrid import HybridModel
from raypipe.recommend.interactions import Interactions
from raypipe.recommend.parameters import PARTS, TEST_DAYS, HybridParameters
from raypipe.recommend.recommender import fit_recommender
from raypipe.registry import champions
from raypipe.registry.record import Registered

# Enough users for the distribution of scoring's rows, and for golden rows.
SAMPLED_USERS = 20_000


def fit_version(client: Client, recipe: Recipe, name: str, champion: Registered | None, progress: Progress) -> Fitted:
    """Fit and judge one version.

    A recommender fitted on earlier days is judged on the reads of the last `test_days` days; the version itself learns
    from all days. It takes over unless it is below the strongest baseline by more than noise and, where its parameters
    differ from the champion's, only if it is better than a recommender with the champion's parameters on the same rows.
    With equal parameters it takes over because it is newer: only it knows the day's articles.

    Raises:
        ConfigError: a parameter of the recommender cannot be used.
        DataError: there are no reads, or no reads of new articles in the test days.
    """
    started = time.perf_counter()
    recipe, params = _with_parameters(recipe)
    contract = frozen(client, recipe)
    progress("reading articles and reads up to the test days", 0, 0)
    catalogue, pairs, backtest = sources.read(client, recipe, params)
    progress(f"fitting on {len(backtest.held.train):,} pairs of {backtest.held.train.user_count:,} readers", 0, 0)
    judged = judge(backtest, recipe, params)
    rival, warning = _rival(client, champion, params)
    error = error_of(champions.challenges(client, champion) + 1) if champion and rival else ALPHA
    decision = _decide(judged, rival, recipe, error)
    progress("fitting on all days", 0, 0)
    fitted = _fitted(client, recipe, contract, judged, decision, (catalogue, pairs))
    warnings = (*decision.warnings, *((warning,) if warning else ()))
    return replace(fitted, warnings=warnings, seconds=time.perf_counter() - started)


def fit_both(client: Client, other: Recipe, recipe: Recipe, name: str, progress: Progress) -> tuple[Fitted, Fitted]:
    """Fit and judge two configurations on the same held-out reads; the second has the comparison.

    Raises:
        UsageError: the configurations do not have the same reads to find.
    """
    both = []
    for own in (other, recipe):
        started = time.perf_counter()
        own, params = _with_parameters(own)
        progress("reading articles and reads", 0, 0)
        catalogue, pairs, backtest = sources.read(client, own, params)
        progress(f"fitting on {len(backtest.held.train):,} pairs", 0, 0)
        judged = judge(backtest, own, params)
        decision = _decide(judged, None, own, ALPHA)
        fitted = _fitted(client, own, frozen(client, own), judged, decision, (catalogue, pairs))
        both.append((judged, replace(fitted, seconds=time.perf_counter() - started)))
    (beside, first), (judged, second) = both
    _require_same_reads(beside, judged)
    gain = judged.gain(beside.lists["model"], recipe, ALPHA)
    reason = f"{METRIC}@{K} {gain[0]:+.4f}"
    comparison = Decision(bool(gain[1] and gain[1] > 0), reason, METRIC, "other configuration", *gain)
    return first, replace(second, comparison=comparison)


def _require_same_reads(one: Judged, other: Judged) -> None:
    tests = one.backtest.held.test, other.backtest.held.test
    same = len(tests[0]) == len(tests[1]) and all(
        np.array_equal(getattr(tests[0], name), getattr(tests[1], name)) for name in ("users", "items")
    )
    if not same:
        raise UsageError(
            "The two configurations do not have the same reads to find",
            found=f"{len(tests[0])} and {len(tests[1])} held-out reads",
            allowed="the same days, articles, and types of events",
        )


def _with_parameters(recipe: Recipe) -> tuple[Recipe, HybridParameters]:
    """Return the recipe with the model's parameters bound in its queries, which scoring must bind as well."""
    params = HybridParameters.from_mapping({key: value for key, value in recipe.params.items() if key != TEST_DAYS})
    own = {
        "event_types": list(params.event_weights),
        "event_weights": [float(weight) for weight in params.event_weights.values()],
        "half_life_days": float(params.half_life_days),
        "popularity_half_life_days": float(params.popularity_half_life_days),
        "read_seconds": float(params.read_seconds),
    }
    snapshots = tuple(replace(snapshot, parameters={**snapshot.parameters, **own}) for snapshot in recipe.snapshots)
    return replace(recipe, parameters={**recipe.parameters, **own}, snapshots=snapshots), params


def _rival(
    client: Client, champion: Registered | None, params: HybridParameters
) -> tuple[HybridParameters | None, str | None]:
    """Return the champion's parameters if its settings differ, or the reason why they cannot be read."""
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
    return (None if params.same_settings(its_params) else its_params), None


def _decide(judged: Judged, rival: HybridParameters | None, recipe: Recipe, error: float) -> Decision:
    values = {name: float(metrics[METRIC]["value"]) for name, metrics in judged.metrics.items()}
    strongest = max((name for name in values if name != "model"), key=lambda name: values[name])
    gain = judged.gain(judged.lists[strongest], recipe, ALPHA)
    above = first_version(METRIC, values["model"], strongest, values[strongest], *gain)
    if rival is None or not above.promote:
        return above
    backtest = judged.backtest
    lists = backtest.lists(fit_recommender(backtest.held.train, backtest.catalogue, rival), rival)
    difference, low, high = judged.gain(lists, recipe, error)
    better = low is not None and low > 0
    verdict = f"{'' if better else 'not '}better by more than noise"
    reason = f"{verdict} than the champion's parameters on the same rows: {METRIC}@{K} {difference:+.4f}"
    if better and above.provisional:
        reason = f"{reason}; but {above.reason}"
    level = 1 - 2 * error
    return Decision(better, reason, METRIC, "champion", difference, low, high, level, better and above.provisional)


def _fitted(
    client: Client,
    recipe: Recipe,
    contract: Contract,
    judged: Judged,
    decision: Decision,
    known: tuple[Catalogue, Interactions],
) -> Fitted:
    """Fit the version on all that is known, with the chosen weights."""
    catalogue, pairs = known
    model = HybridModel(fit_recommender(pairs, catalogue, judged.params, chosen=True))
    rows = _sample(client, recipe, contract)
    package = Package(recipe.family, contract, fit_bins(rows.x, answer(model, rows).scores), 0.0, (), model)
    baselines = _baselines(judged)
    history = {
        "pairs": len(pairs),
        "readers": pairs.user_count,
        "articles": len(catalogue),
        "dropped": pairs.dropped,
        "weights": {part: getattr(judged.params, part) for part in PARTS},
        "tried": judged.tried,
    }
    test = judged.metrics["model"]
    evaluated = {"test": test, "baselines": baselines, "decision": decision.to_json(), "history": history}
    return Fitted(
        pack(package, rows, evaluated),
        package,
        history,
        {"train": len(pairs), "validation": 0, "test": len(judged.backtest.held.test)},
        {},
        test,
        baselines,
        decision,
        (),
        rows.x,
        0.0,
    )


def _baselines(judged: Judged) -> Mapping[str, Mapping[str, object]]:
    others = {name: metrics for name, metrics in judged.metrics.items() if name != "model"}
    return {name: {"description": f"by {name}", **metrics} for name, metrics in others.items()}


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
