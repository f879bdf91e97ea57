"""k-means on standardised columns with scikit-learn, stored as JSON; scoring needs NumPy alone."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models.preparation import library, prepare
from raypipe.models.protocol import FitSpec, History, Matrix
from raypipe.segment.clusters import FILE, Clusters

# Centroids gain nothing from more rows than this.
FIT_ROWS = 200_000
# More are nothing for people, and the time of a fit grows with them.
MOST_CLUSTERS = 256
# Each restart begins with other rows as centroids; the tightest clusters are kept.
RESTARTS = 10
# scikit-learn's parameters that raypipe sets itself, and what to set instead.
_INSTEAD = {"n_clusters": "set clusters", "verbose": "take it out", "copy_x": "take it out"}


class KMeans:
    """The family; `model.params.clusters` is k, `rounds` bounds the iterations, labels are not looked at.

    `model.params.words` says what few and what many of a column mean, `{sessions: [reads rarely, reads often]}`: the
    clusters' names are made of them. Other parameters are those of scikit-learn's KMeans. Missing values count as the
    training median. A model's clusters are numbered by size, the largest 0, until `Clusters.match` gives them the
    numbers of an earlier model.
    """

    framework = "scikit-learn"
    algorithm = "k-means"
    format = "json"
    ray_backend: str | None = None
    fitter = "raypipe.segment.fit"
    # A list of its values is tried in every fit, so that there is nothing left to sweep.
    tries = "model.params.clusters"
    explains = False
    # Scoring does not import scikit-learn in the first place; pyarrow would look for pandas to read the golden rows.
    scores_without: tuple[str, ...] = ("pandas",)

    def check(self, params: Mapping[str, Any]) -> None:
        """Refuse parameters that scikit-learn's KMeans does not take.

        Raises:
            ConfigError: a name is unknown, or scikit-learn is not installed.
        """
        own = {name: value for name, value in params.items() if name not in ("clusters", "words")}
        _require_known(library("sklearn.cluster").KMeans, own)

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[Clusters, History]:
        """Fits on one thread, on which alone the same seed gives the same centroids to the last bit.

        Raises:
            ConfigError: a parameter is unknown or missing, or scikit-learn is not installed.
            DataError: there are fewer rows than clusters.
            ModelError: scikit-learn refused a parameter's value.
        """
        cluster = library("sklearn.cluster")
        wanted, words, own = _parameters(cluster.KMeans, spec)
        if len(train) < wanted:
            raise DataError(
                "There are fewer training rows than clusters",
                found=f"{len(train):,} rows for {wanted} clusters",
                next_step="lower model.params.clusters, or check the filters of features.sql",
            )
        x = train.x
        if len(x) > FIT_ROWS:
            x = x[np.sort(np.random.default_rng(spec.seed).choice(len(x), FIT_ROWS, replace=False))]
        # Float64 where sums decide: two rows at the same distance must not change sides between runs.
        ((_, fill), (_, scale)), z = prepare(x, np.float64)
        derived = {"n_init": RESTARTS, "max_iter": spec.rounds, "random_state": spec.seed}
        try:
            with warnings.catch_warnings(), library("threadpoolctl").threadpool_limits(1):
                # Fewer distinct rows than clusters: the empty ones are taken out below.
                warnings.simplefilter("ignore", library("sklearn.exceptions").ConvergenceWarning)
                found = cluster.KMeans(wanted, **{**derived, **own}).fit(z)
        except (ValueError, TypeError) as error:
            raise ModelError("scikit-learn refused to fit", found=str(error), next_step="check model.params") from error
        sizes = np.bincount(found.labels_, minlength=wanted)
        # By size, then by place, so that the numbers do not depend on where scikit-learn began.
        order = np.lexsort((*found.cluster_centers_.T[::-1], -sizes))
        order = order[sizes[order] > 0]
        model = Clusters(
            spec.columns,
            fill.statistics_,
            scale.mean_,
            scale.scale_,
            scale.inverse_transform(found.cluster_centers_[order]),
            sizes[order],
            np.arange(len(order)),
            words,
        )
        inertia = float(found.inertia_) / len(z)
        return model, History(len(train), int(found.n_iter_), {"train": {"inertia": [inertia]}})

    def from_files(self, files: Mapping[str, bytes]) -> Clusters:
        """The model in `clusters.json`."""
        if FILE not in files:
            raise ModelError(f"The artifact has no {FILE}", found=", ".join(sorted(files)) or "no files")
        return Clusters.from_json(files[FILE])


def _parameters(estimator: Any, spec: FitSpec) -> tuple[int, dict[str, tuple[str, str]], dict[str, Any]]:
    """The number of clusters, the words for people, and scikit-learn's own parameters."""
    if spec.balance != "none":
        raise ConfigError("model.balance has no meaning for k-means", found=spec.balance, allowed="none")
    own = dict(spec.params)
    clusters = own.pop("clusters", None)
    if type(clusters) is not int or not 1 <= clusters <= MOST_CLUSTERS:
        raise ConfigError(
            "model.params.clusters is not a number of clusters",
            found="nothing" if clusters is None else repr(clusters),
            allowed=f"1 to {MOST_CLUSTERS}",
        )
    words = _words(own.pop("words", {}), spec.columns)
    _require_known(estimator, own)
    return clusters, words, own


def _require_known(estimator: Any, own: Mapping[str, Any]) -> None:
    allowed = sorted(set(estimator().get_params()) - _INSTEAD.keys())
    unknown = sorted(set(own) - set(allowed))
    if unknown:
        hints = [_INSTEAD[name] for name in unknown if name in _INSTEAD]
        raise ConfigError(
            "model.params has names that KMeans does not take",
            found=", ".join(unknown),
            allowed=", ".join(["clusters", "words", *allowed]),
            next_step="; ".join(hints) or "correct the name in model.params, or take it out",
        )


def _words(given: Any, columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    if not isinstance(given, Mapping):
        raise ConfigError("model.params.words is not a mapping", found=repr(given), allowed="{column: [few, many]}")
    for column, pair in given.items():
        if column not in columns:
            raise ConfigError("model.params.words names no feature", found=str(column), allowed=", ".join(columns))
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise ConfigError(
                f"model.params.words.{column} is not two texts",
                found=repr(pair),
                allowed="[what few of it mean, what many of it mean]",
            )
    return {column: (few, many) for column, (few, many) in given.items()}
