"""Evaluate recommendations on items held out: precision, NDCG, recall, coverage, diversity and age with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError
from raypipe.evaluation import metrics
from raypipe.evaluation.challenges import ALPHA
from raypipe.recommend.catalogue import UNDATED, Catalogue
from raypipe.recommend.interactions import DAY_SECONDS, Interactions

Array = npt.NDArray[Any]

# The lists whose content is in memory at once.
BLOCK_USERS = 10_000
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

    def first(self, count: int) -> Holdout:
        """Return the holdout of the first users with a pair to find; their numbers are in no order."""
        users = self.users
        return self if len(users) <= count else Holdout(self.train, self.test.take(self.test.users < users[count]))


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


def at_random(pairs: Interactions, share: float, seed: int) -> Holdout:
    """Hold out a share of the pairs of readers who keep a history, for reads without days.

    Raises:
        DataError: no pair is left to find.
    """
    held = np.random.default_rng(seed).random(len(pairs)) < share
    held &= np.isin(pairs.users, pairs.users[~held])
    if not held.any():
        raise DataError(
            "No reader has enough articles to hold some out",
            found=f"{len(pairs)} pairs of {pairs.user_count} readers",
            next_step="check interactions.sql, and split.test_share",
        )
    return Holdout(pairs.take(~held), pairs.take(held))


def variety(lists: Array, catalogue: Catalogue, at: int, k: int) -> dict[str, Array]:
    """Return the diversity and the mean age in days of each list's items, (users,) each, float64.

    The diversity is 1 minus the mean similarity of two items' content (intra-list diversity, Ziegler et al. 2005,
    "Improving recommendation lists through topic diversification"). Lists without a measured item count nothing (NaN).
    A catalogue without content has no diversity, and one without times of publication has no ages.

    Args:
        at: the time of the lists, in seconds since 1970.
    """
    top = lists[:, :k]
    measured = {}
    if catalogue.content.any():
        blocks = range(0, len(top), BLOCK_USERS)
        measured["diversity"] = np.concatenate(
            [_diversity(top[b : b + BLOCK_USERS], catalogue.content) for b in blocks]
        )
    dated = (top >= 0) & (catalogue.published[top] != UNDATED)
    if dated.any():
        days = np.where(dated, (at - catalogue.published[top].astype(np.float64)) / DAY_SECONDS, 0).sum(axis=1)
        measured["age_days"] = np.divide(
            days, dated.sum(axis=1), out=np.full(len(top), np.nan), where=dated.any(axis=1)
        )
    return measured


def _diversity(top: Array, content: Array) -> Array:
    """Return 1 - the mean product of two items' vectors, from the length of their sum."""
    vectors = np.where((top >= 0)[:, :, None], content[top], 0).astype(np.float64)
    count = (top >= 0).sum(axis=1)
    products = (vectors.sum(axis=1) ** 2).sum(axis=1) - (vectors**2).sum(axis=(1, 2))
    pairs = count * (count - 1)
    diversity: Array = 1 - np.divide(products, pairs, out=np.full(len(top), np.nan), where=pairs > 0)
    return diversity


def evaluate(
    lists: Array,
    held: Holdout,
    candidates: int,
    *,
    k: int = 10,
    resamples: int = 200,
    seed: int = 0,
    variety: Mapping[str, Array] | None = None,
) -> Evaluation:
    """Return the quality of recommended lists as JSON-ready values, means over users with intervals.

    `precision` is hits / k. `precision_of_possible` divides all hits by all possible hits, per user the lower of k and
    the number of held-out items (the library implicit calls it precision). `ndcg` has binary relevance, and its ideal
    list has the same lower number of hits (Järvelin & Kekäläinen 2002). `recall` is hits / held-out items. `coverage`
    is the share of the candidates that were recommended to any user.

    Args:
        lists: (users, n ≥ k), positions of items by rank, -1 beyond the end of a list, in the order of `held.users`.
        resamples: the number of bootstrap resamples of users; 0 gives no intervals.
        variety: further values per user, as `variety` returns them; NaN counts nothing.

    Raises:
        DataError: the lists do not belong to the users with a pair to find.
    """
    top = _checked(lists, held, k)
    quality = per_user(top, held, k)
    possible = np.minimum(k, _sizes(held)).astype(np.float64)
    prepared: dict[str, metrics.Metric] = {name: metrics.mean_of(values) for name, values in quality.items()}
    hits = quality["precision"] * k
    prepared["precision_of_possible"] = lambda weights: metrics.dot(weights, hits) / metrics.dot(weights, possible)
    prepared |= {name: _mean_of_known(values) for name, values in (variety or {}).items()}
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
    lists: Array,
    baseline: Array,
    held: Holdout,
    *,
    metric: str,
    error: float = ALPHA,
    k: int = 10,
    resamples: int = 200,
    seed: int = 0,
) -> tuple[float, float | None, float | None]:
    """Return the gain of lists over other lists for the same users, with the interval of a paired bootstrap.

    Args:
        error: the probability of each side outside of the interval.
    """
    better, other = (per_user(_checked(own, held, k), held, k)[metric] for own in (lists, baseline))
    mean = metrics.mean_of(better - other)
    gains = np.array([mean(weights) for weights in metrics.resamples(len(better), resamples, seed)])
    value = float(np.mean(better - other))
    return value, *metrics.normal_interval(value, gains, error)


def _mean_of_known(values: Array) -> metrics.Metric:
    known = np.isfinite(values).astype(np.float64)
    filled = np.where(known > 0, values, 0)
    return lambda weights: metrics.dot(weights, filled) / max(metrics.dot(weights, known), 1)


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
