"""Fit k-means on standardised columns with scikit-learn, stored as JSON; scoring needs NumPy alone."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from raypipe.errors import ConfigError, DataError, ModelError
from raypipe.models.checks import require_parameters, required_file
from raypipe.models.model import Matrix
from raypipe.models.preparation import library, prepare
from raypipe.models.protocol import FitSpec, History, MatrixFamily
from raypipe.segment.clusters import FILE, Clusters

# Centroids gain nothing from more rows than this.
FIT_ROWS = 200_000
# More clusters are of no use to readers, and the time of a fit grows with them.
MOST_CLUSTERS = 256
# Each restart begins with other rows as centroids; the fit with the tightest clusters wins.
RESTARTS = 10
# Parameters of scikit-learn that raypipe sets itself, and the advice to give.
_INSTEAD = {"n_clusters": "set clusters", "verbose": "remove verbose", "copy_x": "remove copy_x"}


class KMeans(MatrixFamily):
    """k-means without labels: `model.params.clusters` is k, and `rounds` bounds the iterations.

    `model.params.words` gives words for few and for many of a column, `{sessions: [reads rarely, reads often]}`, from
    which the clusters get their names. Other parameters are scikit-learn's. Missing values count as the training
    median. Clusters are numbered by size, the largest 0, until `Clusters.match` gives them the numbers of an earlier
    model.
    """

    framework = "scikit-learn"
    algorithm = "k-means"
    format = "json"
    fitter = "raypipe.segment.fit"
    # Every fit tries all values of a list, so that nothing is left to sweep.
    tries = "model.params.clusters"
    explains = False
    # Scoring never imports scikit-learn, but pyarrow would import pandas to read the golden rows.
    scores_without = ("pandas",)

    def check(self, params: Mapping[str, Any], kind: str) -> None:
        """Refuse parameters that scikit-learn's KMeans does not take.

        Raises:
            ConfigError: a name is unknown, or scikit-learn is not installed.
        """
        own = {name: value for name, value in params.items() if name not in ("clusters", "words")}
        require_parameters(own, library("sklearn.cluster").KMeans, _INSTEAD, ("clusters", "words"))

    def fit(self, train: Matrix, validation: Matrix, spec: FitSpec) -> tuple[Clusters, History]:
        """Fit on one thread, so that the same seed gives the same centroids to the last bit.

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
        # Sums in float64: a row between two centroids must not change sides from run to run.
        ((_, fill), (_, scale)), z = prepare(x, np.float64)
        derived = {"n_init": RESTARTS, "max_iter": spec.rounds, "random_state": spec.seed}
        try:
            with warnings.catch_warnings(), library("threadpoolctl").threadpool_limits(1):
                # Fewer distinct rows than clusters leave empty clusters, which are dropped below.
                warnings.simplefilter("ignore", library("sklearn.exceptions").ConvergenceWarning)
                fitted = cluster.KMeans(wanted, **{**derived, **own}).fit(z)
        except (ValueError, TypeError) as error:
            raise ModelError("scikit-learn refused to fit", found=str(error), next_step="check model.params") from error
        sizes = np.bincount(fitted.labels_, minlength=wanted)
        # Ordered by size and place, so that the numbers do not depend on the first centroids.
        order = np.lexsort((*fitted.cluster_centers_.T[::-1], -sizes))
        order = order[sizes[order] > 0]
        model = Clusters(
            spec.columns,
            fill.statistics_,
            scale.mean_,
            scale.scale_,
            scale.inverse_transform(fitted.cluster_centers_[order]),
            sizes[order],
            np.arange(len(order)),
            words,
        )
        inertia = float(fitted.inertia_) / len(z)
        return model, History(len(train), int(fitted.n_iter_), {"train": {"inertia": [inertia]}})

    def from_files(self, files: Mapping[str, bytes]) -> Clusters:
        """Load the model in `clusters.json`."""
        return Clusters.from_json(required_file(files, FILE))


def _parameters(estimator: Any, spec: FitSpec) -> tuple[int, dict[str, tuple[str, str]], dict[str, Any]]:
    """Split the parameters: the number of clusters, the words for names, and scikit-learn's own."""
    if spec.balance != "none":
        raise ConfigError("model.balance does not apply to k-means", found=spec.balance, allowed="none")
    own = dict(spec.params)
    clusters = own.pop("clusters", None)
    if type(clusters) is not int or not 1 <= clusters <= MOST_CLUSTERS:
        raise ConfigError(
            "model.params.clusters is not a number of clusters",
            found="nothing" if clusters is None else repr(clusters),
            allowed=f"1 to {MOST_CLUSTERS}",
        )
    words = _words(own.pop("words", {}), spec.columns)
    require_parameters(own, estimator, _INSTEAD, ("clusters", "words"))
    return clusters, words, own


def _words(given: Any, columns: Sequence[str]) -> dict[str, tuple[str, str]]:
    if not isinstance(given, Mapping):
        raise ConfigError("model.params.words is not a mapping", found=repr(given), allowed="{column: [few, many]}")
    for column, pair in given.items():
        if column not in columns:
            raise ConfigError(
                "model.params.words names a column that is no feature", found=str(column), allowed=", ".join(columns)
            )
        if not isinstance(pair, (list, tuple)) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise ConfigError(
                f"model.params.words.{column} is not a pair of texts",
                found=repr(pair),
                allowed="[words for few, words for many]",
            )
    return {column: (few, many) for column, (few, many) in given.items()}
