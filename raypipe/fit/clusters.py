"""Fitting clusters: no label, k by the silhouette, and numbers that follow the champion's clusters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.clickhouse.client import Client
from raypipe.data.contract import KEY_HASH, MATRIX, Contract, matrix
from raypipe.data.histograms import fit_bins
from raypipe.data.slices import unsliced
from raypipe.errors import ConfigError, DataError, RaypipeError
from raypipe.fit import metrics
from raypipe.fit.fitting import Fitted, Progress, frozen
from raypipe.fit.promotion import Decision
from raypipe.fit.recipe import Champion, Recipe
from raypipe.models.clusters import Clusters
from raypipe.models.protocol import FitSpec, History, Matrix, load_family
from raypipe.registry.package import Package, load_package, pack

METRIC = "silhouette"
# Every pair of rows is compared, so more than these would take minutes.
JUDGED_ROWS = 5_000


def fit_version(client: Client, recipe: Recipe, name: str, champion: Champion | None, progress: Progress) -> Fitted:
    """Fits and judges one version of a family of clusters.

    `model.params.clusters` is k, or a list of them to choose from: the one with the highest silhouette on the
    validation rows is taken. The version takes over unless its silhouette on the test rows is lower than the
    champion's by more than noise: the same clusters, fitted on a newer day, cannot beat themselves.

    Args:
        client: where the data is.
        recipe: what to fit.
        name: unused: the rows are a sample, which is not written to a table.
        champion: what to compare with, and whose numbers to keep.
        progress: told in words what is going on.

    Raises:
        DataError: there are no rows, or nothing in them differs.
        ConfigError: `clusters` names no number of clusters.
    """
    started = time.perf_counter()
    contract = frozen(client, recipe)
    progress("reading features")
    parts = _read(client, recipe, contract)
    standing, warning = _standing(champion, contract)
    wanted = _wanted(recipe)
    progress(f"fitting {', '.join(map(str, wanted))} clusters on {len(parts['train']):,} rows")
    model, history, curve = _best(recipe, contract, parts, wanted)
    if standing is not None:
        model = model.match(standing.centroids)
    progress("judging on the test rows")
    own = _silhouettes(model, parts["test"])
    rival = None if standing is None else _silhouettes(model, parts["test"], standing)
    decision = _decide(own, rival, recipe)
    judged = {part: _judged(model, parts[part], recipe) for part in ("validation", "test")}
    baselines = {"a single cluster": {"description": "no clusters at all", METRIC: {"value": 0.0}}}
    bins = fit_bins(parts["train"], model.predict(parts["train"]))
    package = Package(recipe.family, contract, bins, 0.0, recipe.levels, model)
    described = {**history.curves, "silhouette_by_clusters": curve}
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
        () if warning is None else (warning,),
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
        return None, "the champion's clusters are of other columns, so that the numbers begin anew"
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
    return wanted


def _best(
    recipe: Recipe, contract: Contract, parts: Mapping[str, npt.NDArray[np.float32]], wanted: Sequence[int]
) -> tuple[Clusters, History, dict[str, float]]:
    """The clusters of the k with the highest silhouette on the validation rows, and the silhouette of each k."""
    family = load_family(recipe.family)
    train, validation = (
        Matrix(parts[part], np.zeros(len(parts[part]), np.float32)) for part in ("train", "validation")
    )
    found: list[tuple[float, Clusters, History]] = []
    curve: dict[str, float] = {}
    for k in wanted:
        spec = FitSpec(
            contract.columns,
            contract.monotone,
            {**recipe.params, "clusters": k},
            recipe.rounds,
            recipe.early_stopping_rounds,
            recipe.balance,
            recipe.shares.seed,
        )
        model, history = family.fit(train, validation, spec)
        if not isinstance(model, Clusters):
            raise ConfigError("model.class does not make clusters", found=recipe.family, allowed="such as KMeans")
        value = float(np.mean(_silhouettes(model, validation.x)))
        curve[str(k)] = round(value, 6)
        found.append((value, model, history))
    # Of equals the first that was asked for.
    _, model, history = max(found, key=lambda one: one[0])
    return model, history, curve


def _silhouettes(model: Clusters, x: npt.NDArray[np.float32], other: Clusters | None = None) -> npt.NDArray[np.float64]:
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


def _decide(own: npt.NDArray[np.float64], rival: npt.NDArray[np.float64] | None, recipe: Recipe) -> Decision:
    value = float(np.mean(own))
    if rival is None:
        verdict = "some structure" if value > 0 else "no structure"
        reason = f"no champion stands, and the clusters show {verdict}: silhouette {value:.4f}"
        return Decision(value > 0, reason, METRIC, "a single cluster", value)
    difference = metrics.intervals(
        {METRIC: metrics.mean_of(own - rival)}, len(own), recipe.resamples, recipe.shares.seed
    )[METRIC]
    worse = difference.high is not None and difference.high < 0
    reason = (
        f"{'worse than' if worse else 'as good as, or better than,'} the champion on the same rows:"
        f" silhouette {value:.4f} against {float(np.mean(rival)):.4f}"
    )
    return Decision(not worse, reason, METRIC, "champion", difference.value, difference.low, difference.high)
