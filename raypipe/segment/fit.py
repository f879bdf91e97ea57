"""Fit clusters without labels: choose k by the silhouette, and keep the numbers of the champion's clusters.

Every k of `model.params.clusters` is a trial with a row in ml_model_training_runs, like a trial of a sweep. Each fit
tries all of them in this process on the same rows, so that `raypipe sweep` has nothing to add (docs/decisions/0019).
"""

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
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
from raypipe.fit.fitted import Fitted
from raypipe.fit.labelled import fit_spec
from raypipe.fit.recipe import PARTS, Recipe, frozen
from raypipe.fit.training_table import PREFIX
from raypipe.models.model import FloatArray, Matrix
from raypipe.models.protocol import History, load_matrix_family
from raypipe.progress import Progress, silent
from raypipe.registry.record import Registered
from raypipe.registry.rows import statement
from raypipe.registry.training_runs import DATES
from raypipe.registry.trials import SweepDescription, TrialRuns
from raypipe.segment.clusters import Clusters
from raypipe.segment.kmeans import KMeans

METRIC = "silhouette"
# Every pair of rows is compared, so more rows than these would take minutes.
JUDGED_ROWS = 5_000

Floats = npt.NDArray[np.float64]
Parts = Mapping[str, FloatArray]


@dataclass(frozen=True)
class ClusterTrial:
    """A fit with one k, and the silhouettes of the judged validation rows."""

    k: int
    model: Clusters
    history: History
    silhouettes: Floats

    @property
    def silhouette(self) -> float:
        """Return the mean silhouette, which decides between trials."""
        return float(np.mean(self.silhouettes))


def fit_version(client: Client, recipe: Recipe, name: str, champion: Registered | None, progress: Progress) -> Fitted:
    """Fit and judge one version of a family of clusters.

    `model.params.clusters` is k or a list of candidates. The k with the highest silhouette on the validation rows wins,
    unless the champion's k is as good within noise. The version takes over if its silhouette on the test rows is above
    zero and not lower than the champion's by more than noise: the same clusters fitted on a newer day cannot be better
    than themselves.

    Raises:
        DataError: there are no rows, or too few for any k.
        ConfigError: `clusters` is not a number of clusters.
        ModelError: no number is left for a new cluster.
    """
    started = time.perf_counter()
    candidates = _candidates(recipe)
    contract = frozen(client, recipe)
    progress("reading features", 0, 0)
    parts = _read(client, recipe, contract)
    followed, warning = _followed(client, champion, contract)
    progress(f"fitting {', '.join(map(str, candidates))} clusters on {len(parts['train']):,} rows", 0, 0)
    trial_ids = name.removeprefix(PREFIX)
    runs = _runs(client, recipe, parts, trial_ids, len(candidates))
    trials, warnings = _trials(recipe, contract, parts, candidates, runs)
    best = _best(trials, followed, recipe)
    model = best.model.match(followed.centroids if followed else None, _used_numbers(client, recipe.pipeline))
    progress("judging on the test rows", 0, 0)
    own = _silhouettes(model, parts["test"])
    rival = _silhouettes(model, parts["test"], followed) if followed else None
    decision = _decide(own, rival, recipe)
    judged = {part: _judged(model, parts[part], recipe) for part in ("validation", "test")}
    baselines = {"a single cluster": {"description": "no clusters at all", METRIC: {"value": 0.0}}}
    bins = fit_bins(parts["train"], model.predict(parts["train"]))
    package = Package(recipe.family, contract, bins, 0.0, recipe.levels, model)
    history = {
        **best.history.curves,
        "silhouette_by_clusters": {str(trial.k): round(trial.silhouette, 6) for trial in trials},
        "trials": trial_ids,
        "numbers": list(model.centroids.numbers),
    }
    evaluation = {**judged, "baselines": baselines, "decision": decision.to_json(), "history": history}
    return Fitted(
        pack(package, parts["test"], evaluation),
        package,
        history,
        {part: len(rows) for part, rows in parts.items()},
        judged["validation"],
        judged["test"],
        baselines,
        decision,
        (*warnings, *((warning,) if warning else ())),
        parts["train"],
        time.perf_counter() - started,
    )


def _read(client: Client, recipe: Recipe, contract: Contract) -> dict[str, FloatArray]:
    """Read the matrix of each part: users are split by a hash of their id, and sampled by another hash."""
    snapshot, shares, query = recipe.snapshots[-1], recipe.shares, unsliced(recipe.features_sql.text)
    rows = int(client.value(f"SELECT count() FROM (\n{query}\n)", snapshot.parameters))
    keep = min(1.0, shares.max_train_rows / max(1, rows))
    table = client.table(
        f"SELECT {MATRIX}, cityHash64({{split_seed:UInt64}}, {KEY_HASH}) / 18446744073709551616. AS place"
        f" FROM (\n{contract.select(query)}\n)"
        f" WHERE sipHash64({{split_seed:UInt64}}, {KEY_HASH}) / 18446744073709551616. < {{keep:Float64}}"
        f" ORDER BY {KEY_HASH}",
        {**snapshot.parameters, "split_seed": shares.seed, "keep": keep},
    )
    x = matrix(table.column(MATRIX), len(contract.columns))
    # The split depends on the key alone, so that new or lost users move no other user to another part.
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


def _followed(client: Client, champion: Registered | None, contract: Contract) -> tuple[Clusters | None, str | None]:
    """Return the champion's clusters if they have the same columns, or the reason why they cannot be followed."""
    if champion is None:
        return None, None
    uri, sha256 = champion.artifact_uri, champion.artifact_sha256
    try:
        package = load_package(uri, sha256, client, pipeline=champion.pipeline, version=champion.version)
    except RaypipeError as error:
        return None, f"the champion's clusters could not be followed: {error.problem}"
    if not isinstance(package.model, Clusters) or package.contract.columns != contract.columns:
        return None, "the champion's clusters have other columns, so all clusters have new numbers"
    return package.model, None


def _candidates(recipe: Recipe) -> list[int]:
    value = recipe.params.get("clusters")
    candidates: list[Any] = list(value) if isinstance(value, (list, tuple)) else [value]
    if not candidates or not all(type(k) is int and k >= 2 for k in candidates):
        raise ConfigError(
            "model.params.clusters is not a number of clusters",
            found=repr(value),
            allowed="a whole number from 2, or a list of whole numbers to choose from",
        )
    return list(dict.fromkeys(candidates))


def _used_numbers(client: Client, pipeline: str) -> set[int]:
    """Return the numbers of all clusters that any version of the pipeline had."""
    return {int(number) for (number,) in client.rows(statement("cluster_numbers").text, {"pipeline": pipeline})}


def _runs(client: Client, recipe: Recipe, parts: Parts, name: str, trials: int) -> TrialRuns:
    source = f"{recipe.features_sql.source}{DATES}{recipe.snapshots[-1].date}"
    rows = len(parts["train"]), min(len(parts["validation"]), JUDGED_ROWS)
    return TrialRuns(client, SweepDescription(name, recipe.pipeline, source, *rows, METRIC, True, trials), silent)


def _trials(
    recipe: Recipe, contract: Contract, parts: Parts, candidates: Sequence[int], runs: TrialRuns
) -> tuple[list[ClusterTrial], list[str]]:
    """Fit every k and record its trial; return the fitted trials and a warning about those that failed."""
    trials, errors = [], []
    try:
        for k in candidates:
            name, values = f"k{k}", {KMeans.tries: k}
            runs.started(name, values)
            try:
                trial = _trial(recipe, contract, parts, k)
            except DataError as error:
                # With fewer rows than clusters, a smaller k may still work.
                runs.failed(name, values, str(error))
                errors.append(error)
                continue
            measured = {METRIC: trial.silhouette, "clusters": len(trial.model.centroids.numbers)}
            reported = {"rounds": trial.history.rounds, "final": True, "rungs": []}
            runs.ended(name, values, {**reported, "metric": trial.silhouette, "metrics": measured})
            trials.append(trial)
    except BaseException as error:
        # The reason of the failure matters more than a failure to record it.
        with suppress(RaypipeError):
            runs.give_up(str(error) or type(error).__name__)
        raise
    if not trials:
        raise errors[0]
    return trials, [f"not every number of clusters could be tried: {error.problem}" for error in errors[:1]]


def _trial(recipe: Recipe, contract: Contract, parts: Parts, k: int) -> ClusterTrial:
    train, validation = (Matrix(parts[part], np.zeros(len(parts[part]), np.float32)) for part in PARTS[:2])
    spec = replace(fit_spec(recipe, contract), params={**recipe.params, "clusters": k})
    model, history = load_matrix_family(recipe.family).fit(train, validation, spec)
    if not isinstance(model, Clusters):
        raise ConfigError("model.class does not fit clusters", found=recipe.family, allowed="such as KMeans")
    return ClusterTrial(k, model, history, _silhouettes(model, validation.x))


def _best(trials: Sequence[ClusterTrial], followed: Clusters | None, recipe: Recipe) -> ClusterTrial:
    """Return the trial with the highest silhouette; keep the champion's k within noise, so that k does not flicker."""
    # Ties go to the first candidate.
    best = max(trials, key=lambda trial: trial.silhouette)
    usual = next((trial for trial in trials if followed and trial.k == len(followed.centroids.numbers)), None)
    if usual is None:
        return best
    gain = _mean(best.silhouettes - usual.silhouettes, recipe)
    return best if gain.low is not None and gain.low > 0 else usual


def _silhouettes(model: Clusters, x: FloatArray, other: Clusters | None = None) -> Floats:
    """Return silhouettes of the rows' clusters, by the model or by another model, on the model's scale."""
    judged = x[:JUDGED_ROWS]
    return model.silhouettes(judged, other.assign(judged).numbers if other else None)


def _judged(model: Clusters, x: FloatArray, recipe: Recipe) -> dict[str, Any]:
    values = _silhouettes(model, x)
    return {
        "kind": "clusters",
        "rows": len(values),
        "clusters": len(model.centroids.numbers),
        METRIC: _mean(values, recipe).to_json(),
    }


def _decide(own: Floats, rival: Floats | None, recipe: Recipe) -> Decision:
    value = float(np.mean(own))
    if rival is None:
        verdict = "some structure" if value > 0 else "no structure"
        reason = f"there is no champion, and the clusters show {verdict}: silhouette {value:.4f}"
        return Decision(value > 0, reason, METRIC, "a single cluster", value)
    difference = _mean(own - rival, recipe)
    worse = difference.high is not None and difference.high < 0
    reason = (
        f"{'worse than' if worse else 'as good as, or better than,'} the champion on the same rows:"
        f" silhouette {value:.4f} against {float(np.mean(rival)):.4f}"
    )
    if value <= 0:
        reason += "; but no structure"
    interval = (difference.value, difference.low, difference.high)
    return Decision(not worse and value > 0, reason, METRIC, "champion", *interval)


def _mean(values: Floats, recipe: Recipe) -> metrics.Interval:
    """Return the mean of the rows' values with its interval."""
    interval = metrics.intervals({METRIC: metrics.mean_of(values)}, len(values), recipe.resamples, recipe.shares.seed)
    return interval[METRIC]
