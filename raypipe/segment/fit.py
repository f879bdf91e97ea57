"""Fitting clusters: no label, k by the silhouette, and numbers that follow the champion's clusters.

Every k of `model.params.clusters` is a trial, as those of a sweep are: a row of ml_model_training_runs. All are tried
in each fit, in this process and on rows that are read once; `raypipe sweep` has nothing to add (docs/decisions/0019).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.artifact.bins import fit_bins
from raypipe.artifact.contract import KEY_HASH, MATRIX, Contract, matrix
from raypipe.artifact.package import Package, load_package, pack
from raypipe.clickhouse.client import Client
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, DataError, RaypipeError
from raypipe.evaluation import metrics
from raypipe.evaluation.decision import Decision
from raypipe.fit.fitting import Fitted, Progress, frozen
from raypipe.fit.recipe import Champion, Recipe
from raypipe.models.protocol import FitSpec, History, Matrix, load_family
from raypipe.registry.rows import statement
from raypipe.registry.training_runs import DATES
from raypipe.registry.trials import SweepDescription, TrialRuns
from raypipe.segment.clusters import Clusters
from raypipe.segment.kmeans import KMeans

METRIC = "silhouette"
# Every pair of rows is compared, so more than these would take minutes.
JUDGED_ROWS = 5_000

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tried:
    """A number of clusters that was tried.

    Attributes:
        silhouettes: of the validation rows that are judged.
    """

    k: int
    model: Clusters
    history: History
    silhouettes: Floats

    @property
    def value(self) -> float:
        """What decides: the mean silhouette."""
        return float(np.mean(self.silhouettes))


def fit_version(client: Client, recipe: Recipe, name: str, champion: Champion | None, progress: Progress) -> Fitted:
    """Fits and judges one version of a family of clusters.

    `model.params.clusters` is k, or a list of them to choose from: the one with the highest silhouette on the
    validation rows is taken, but the champion's k unless it is lower by more than noise. The version takes over
    when its silhouette on the test rows is above zero and not lower than the champion's by more than noise: the same
    clusters, fitted on a newer day, cannot beat themselves.

    Args:
        client: where the data is.
        recipe: what to fit.
        name: what the run ids of the trials begin with, as a table of training rows would be called; there is none.
        champion: what to compare with, and whose numbers to keep.
        progress: told in words what is going on.

    Raises:
        DataError: there are no rows, or nothing in them differs.
        ConfigError: `clusters` names no number of clusters.
        ModelError: no number is left for a new cluster.
    """
    started = time.perf_counter()
    wanted = _wanted(recipe)
    contract = frozen(client, recipe)
    progress("reading features")
    parts = _read(client, recipe, contract)
    standing, warning = _standing(champion, contract)
    progress(f"fitting {', '.join(map(str, wanted))} clusters on {len(parts['train']):,} rows")
    trials = name.removeprefix("raypipe_training_")
    runs = _runs(client, recipe, parts, trials, len(wanted))
    tried, failed = _tried(recipe, contract, parts, wanted, runs)
    best = _best(tried, standing, recipe)
    model = best.model.match(standing.centroids if standing else None, _taken(client, recipe.pipeline))
    progress("judging on the test rows")
    own = _silhouettes(model, parts["test"])
    rival = None if standing is None else _silhouettes(model, parts["test"], standing)
    decision = _decide(own, rival, recipe)
    judged = {part: _judged(model, parts[part], recipe) for part in ("validation", "test")}
    baselines = {"a single cluster": {"description": "no clusters at all", METRIC: {"value": 0.0}}}
    bins = fit_bins(parts["train"], model.predict(parts["train"]))
    package = Package(recipe.family, contract, bins, 0.0, recipe.levels, model)
    described = {
        **best.history.curves,
        "silhouette_by_clusters": {str(one.k): round(one.value, 6) for one in tried},
        "trials": trials,
        "numbers": list(model.centroids.numbers),
    }
    evaluation = {**judged, "baselines": baselines, "decision": decision.to_json(), "history": described}
    return Fitted(
        pack(package, parts["test"], evaluation),
        package,
        described,
        {part: len(rows) for part, rows in parts.items()},
        judged["validation"],
        judged["test"],
        baselines,
        decision,
        (*failed, *(() if warning is None else (warning,))),
        parts["train"],
        time.perf_counter() - started,
    )


def _read(client: Client, recipe: Recipe, contract: Contract) -> dict[str, npt.NDArray[np.float32]]:
    """The matrix of each part; users are divided by a hash of their id, and sampled by it beyond the limit."""
    snapshot = recipe.snapshots[-1]
    shares = recipe.shares
    rows = int(client.value(f"SELECT count() FROM (\n{unsliced(recipe.features_sql.text)}\n)", snapshot.parameters))
    keep = min(1.0, shares.max_train_rows / max(1, rows))
    table = client.table(
        f"SELECT {MATRIX}, cityHash64({{split_seed:UInt64}}, {KEY_HASH}) / 18446744073709551616. AS place"
        f" FROM (\n{contract.select(unsliced(recipe.features_sql.text))}\n)"
        f" WHERE sipHash64({{split_seed:UInt64}}, {KEY_HASH}) / 18446744073709551616. < {{keep:Float64}}"
        f" ORDER BY {KEY_HASH}",
        {**snapshot.parameters, "split_seed": shares.seed, "keep": keep},
    )
    x = matrix(table.column(MATRIX), len(contract.columns))
    # By the key alone: a user who joins or leaves moves nobody else from one part to another.
    place = table.column("place").to_numpy()
    held = shares.test + shares.validation
    parts = {
        "train": x[place >= held],
        "validation": x[(place >= shares.test) & (place < held)],
        "test": x[place < shares.test],
    }
    if not all(len(part) for part in parts.values()):
        raise DataError(
            f"There are too few rows to find clusters in on {snapshot.date}",
            found=f"{len(x)} rows from {recipe.features_sql.source}",
            next_step="check its conditions, and whether the snapshot of that date is complete",
        )
    return parts


def _standing(champion: Champion | None, contract: Contract) -> tuple[Clusters | None, str | None]:
    """The champion's clusters, where they are of the same columns; or why they cannot be followed."""
    if champion is None:
        return None, None
    try:
        package = load_package(champion.artifact_uri, champion.artifact_sha256)
    except RaypipeError as error:
        return None, f"the champion's clusters could not be followed: {error.problem}"
    if not isinstance(package.model, Clusters) or package.contract.columns != contract.columns:
        return None, "the champion's clusters are of other columns, so that all clusters have new numbers"
    return package.model, None


def _wanted(recipe: Recipe) -> list[int]:
    given = recipe.params.get("clusters")
    wanted: list[Any] = list(given) if isinstance(given, (list, tuple)) else [given]
    if not wanted or not all(type(k) is int and k >= 2 for k in wanted):
        raise ConfigError(
            "model.params.clusters is not a number of clusters",
            found=repr(given),
            allowed="a whole number from 2, or a list of them to choose from",
        )
    return list(dict.fromkeys(wanted))


def _taken(client: Client, pipeline: str) -> set[int]:
    """The numbers that clusters of any version of the pipeline had."""
    return {int(number) for (number,) in client.rows(statement("cluster_numbers").text, {"pipeline": pipeline})}


def _runs(
    client: Client, recipe: Recipe, parts: Mapping[str, npt.NDArray[np.float32]], name: str, trials: int
) -> TrialRuns:
    source = f"{recipe.features_sql.source}{DATES}{recipe.snapshots[-1].date}"
    rows = len(parts["train"]), min(len(parts["validation"]), JUDGED_ROWS)
    return TrialRuns(
        client, SweepDescription(name, recipe.pipeline, source, *rows, METRIC, True, trials), lambda *_: None
    )


def _tried(
    recipe: Recipe,
    contract: Contract,
    parts: Mapping[str, npt.NDArray[np.float32]],
    wanted: Sequence[int],
    runs: TrialRuns,
) -> tuple[list[Tried], list[str]]:
    """Clusters of each k with how they do on the validation rows, and why others could not be fitted."""
    found, errors = [], []
    try:
        for k in wanted:
            trial, values = f"k{k}", {KMeans.tries: k}
            runs.started(trial, values)
            try:
                one = _fitted(recipe, contract, parts, k)
            except DataError as error:
                # Such as fewer rows than clusters: a smaller k may do.
                runs.failed(trial, values, str(error))
                errors.append(error)
                continue
            measured = {METRIC: one.value, "clusters": len(one.model.centroids.numbers)}
            told = {"rounds": one.history.rounds, "final": True, "rungs": []}
            runs.ended(trial, values, {**told, "metric": one.value, "metrics": measured})
            found.append(one)
    except BaseException as error:
        # What went wrong is worth more than why that could not be written down.
        with suppress(RaypipeError):
            runs.give_up(str(error) or type(error).__name__)
        raise
    if not found:
        raise errors[0]
    return found, [f"not every number of clusters could be tried: {error.problem}" for error in errors[:1]]


def _fitted(recipe: Recipe, contract: Contract, parts: Mapping[str, npt.NDArray[np.float32]], k: int) -> Tried:
    train, validation = (
        Matrix(parts[part], np.zeros(len(parts[part]), np.float32)) for part in ("train", "validation")
    )
    spec = FitSpec(
        contract.columns,
        contract.monotone,
        {**recipe.params, "clusters": k},
        recipe.rounds,
        recipe.early_stopping_rounds,
        recipe.balance,
        recipe.shares.seed,
    )
    model, history = load_family(recipe.family).fit(train, validation, spec)
    if not isinstance(model, Clusters):
        raise ConfigError("model.class does not make clusters", found=recipe.family, allowed="such as KMeans")
    return Tried(k, model, history, _silhouettes(model, validation.x))


def _best(tried: Sequence[Tried], standing: Clusters | None, recipe: Recipe) -> Tried:
    """The highest silhouette; the champion's k unless it is lower by more than noise, so that k does not flicker."""
    # Of equals the first that was asked for.
    best = max(tried, key=lambda one: one.value)
    usual = next((one for one in tried if standing and one.k == len(standing.centroids.numbers)), None)
    if usual is None:
        return best
    gain = _difference(best.silhouettes, usual.silhouettes, recipe)
    return best if gain.low is not None and gain.low > 0 else usual


def _silhouettes(model: Clusters, x: npt.NDArray[np.float32], other: Clusters | None = None) -> Floats:
    """Of the rows' clusters by the model or by another one, on the model's scale."""
    judged = x[:JUDGED_ROWS]
    return model.silhouettes(judged, None if other is None else other.assign(judged).numbers)


def _judged(model: Clusters, x: npt.NDArray[np.float32], recipe: Recipe) -> dict[str, Any]:
    values = _silhouettes(model, x)
    found = metrics.intervals({METRIC: metrics.mean_of(values)}, len(values), recipe.resamples, recipe.shares.seed)
    return {
        "kind": "clusters",
        "rows": len(values),
        "clusters": len(model.centroids.numbers),
        METRIC: found[METRIC].to_json(),
    }


def _decide(own: Floats, rival: Floats | None, recipe: Recipe) -> Decision:
    value = float(np.mean(own))
    if rival is None:
        verdict = "some structure" if value > 0 else "no structure"
        reason = f"no champion stands, and the clusters show {verdict}: silhouette {value:.4f}"
        return Decision(value > 0, reason, METRIC, "a single cluster", value)
    difference = _difference(own, rival, recipe)
    worse = difference.high is not None and difference.high < 0
    reason = (
        f"{'worse than' if worse else 'as good as, or better than,'} the champion on the same rows:"
        f" silhouette {value:.4f} against {float(np.mean(rival)):.4f}"
    )
    if value <= 0:
        reason += "; but no structure"
    found = (difference.value, difference.low, difference.high)
    return Decision(not worse and value > 0, reason, METRIC, "champion", *found)


def _difference(one: Floats, other: Floats, recipe: Recipe) -> metrics.Interval:
    """Of two mean silhouettes, both of the same rows."""
    found = metrics.intervals({METRIC: metrics.mean_of(one - other)}, len(one), recipe.resamples, recipe.shares.seed)
    return found[METRIC]
