"""Evaluate recommendations on items held out by time: precision, NDCG, recall and coverage with intervals."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError
from raypipe.evaluation import metrics
from raypipe.recommend.interactions import Interactions

Array = npt.NDArray[Any]
Evaluation = dict[str, Any]


@dataclass(frozen=True)
class Holdout:
    """Interactions split in two, with the same numbers of users.

    Attributes:
        train: the pairs to fit on, which are also the users' histories.
        test: the pairs to find.
    """

    train: Interactions
    test: Interactions

    @property
    def users(self) -> Array:
        """Return the users with a pair to find, ascending."""
        return np.unique(self.test.users)


def next_reads(before: Interactions, after: Interactions, *, since: int) -> Holdout:
    """Hold out the items that readers with a history read later and for the first time.

    Args:
        before: the pairs known at the time.
        after: pairs of a later time, with the same numbers of users and items (`interactions.read_together`).
        since: the time, in seconds since 1970; earlier pairs of `after` do not count.

    Raises:
        DataError: no reader read a new item.
    """
    known = before.users.astype(np.int64) * before.item_count + before.items
    later = after.users.astype(np.int64) * after.item_count + after.items
    new = (after.times >= since) & ~np.isin(later, known) & np.isin(after.users, before.users)
    if not new.any():
        raise DataError(
            "No reader with a history read a new article",
            found=f"{len(before)} pairs before, {len(after)} after",
            next_step="check the two dates of interactions.sql",
        )
    return Holdout(before, after.take(new))


def evaluate(
    lists: Array, held: Holdout, candidates: int, *, k: int = 10, resamples: int = 200, seed: int = 0
) -> Evaluation:
    """Return the quality of recommended lists as JSON-ready values, means over users with intervals.

    `precision` is hits / k. `precision_of_possible` divides all hits by all possible hits, per user the lower of k and
    the number of held-out items (the library implicit calls it precision). `ndcg` has binary relevance, and its ideal
    list has the same lower number of hits (Järvelin & Kekäläinen 2002). `recall` is hits / held-out items. `coverage`
    is the share of the candidates that were recommended to any user.

    Args:
        lists: (users, n ≥ k), positions of items by rank, -1 beyond the end of a list, in the order of `held.users`.
        resamples: the number of bootstrap resamples of users; 0 gives no intervals.

    Raises:
        DataError: the lists do not belong to the users with a pair to find.
    """
    top = _checked(lists, held, k)
    quality = per_user(top, held, k)
    possible = np.minimum(k, _sizes(held)).astype(np.float64)
    prepared: dict[str, metrics.Metric] = {name: metrics.mean_of(values) for name, values in quality.items()}
    hits = quality["precision"] * k
    prepared["precision_of_possible"] = lambda weights: metrics.dot(weights, hits) / metrics.dot(weights, possible)
    intervals = metrics.intervals(prepared, len(top), resamples, seed)
    recommended = len(np.unique(top[top >= 0]))
    return {
        "kind": "ranking",
        "users": len(top),
        "held_out": len(held.test),
        "k": k,
        "candidates": candidates,
        **{name: interval.to_json() for name, interval in intervals.items()},
        "coverage": {"value": recommended / candidates if candidates else None},
    }


def gain(
    lists: Array, baseline: Array, held: Holdout, *, k: int = 10, resamples: int = 200, seed: int = 0
) -> Mapping[str, Mapping[str, float | None]]:
    """Return the gain of lists over a baseline's lists, as means over the same users with paired intervals."""
    better = per_user(_checked(lists, held, k), held, k)
    other = per_user(_checked(baseline, held, k), held, k)
    prepared = {name: metrics.mean_of(values - other[name]) for name, values in better.items()}
    intervals = metrics.intervals(prepared, len(lists), resamples, seed)
    return {name: interval.to_json() for name, interval in intervals.items()}


def per_user(top: Array, held: Holdout, k: int) -> dict[str, Array]:
    """Return precision, NDCG and recall at k of each user's list, each (users,), float64."""
    wanted = held.test.users.astype(np.int64) * held.test.item_count + held.test.items
    offered = held.users.astype(np.int64)[:, None] * held.test.item_count + top
    hit = np.isin(offered, wanted) & (top >= 0)
    gains = 1 / np.log2(np.arange(2, k + 2))
    sizes = _sizes(held)
    ideal = np.cumsum(gains)[np.minimum(k, sizes) - 1]
    return {"precision": hit.sum(axis=1) / k, "ndcg": hit @ gains / ideal, "recall": hit.sum(axis=1) / sizes}


def _sizes(held: Holdout) -> Array:
    """Count the held-out items of each user."""
    return np.unique(held.test.users, return_counts=True)[1]


def _checked(lists: Array, held: Holdout, k: int) -> Array:
    if len(lists) != len(held.users) or lists.shape[1] < k:
        raise DataError(
            "The lists do not belong to the users of the evaluation",
            found=f"shape {lists.shape}",
            allowed=f"({len(held.users)}, {k} or more)",
        )
    return lists[:, :k]
