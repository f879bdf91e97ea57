"""How good recommendations are: items held out by time, precision, NDCG and coverage with intervals, and popularity."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.errors import DataError, UsageError
from raypipe.evaluation import metrics
from raypipe.recommend.interactions import Interactions

Array = npt.NDArray[Any]
Evaluation = dict[str, Any]


@dataclass(frozen=True)
class HeldOut:
    """Interactions split in two, with the same numbers of users.

    Attributes:
        train: what a model may be fitted on, and the histories that it may see.
        test: what it has to find.
    """

    train: Interactions
    test: Interactions

    @property
    def users(self) -> Array:
        """The users with something to find, ascending."""
        return np.unique(self.test.users)


def leave_last_out(interactions: Interactions, count: int = 1, *, since: int = 0) -> HeldOut:
    """Holds out each user's last items by the time of their last event, of the users who have more than those.

    Args:
        interactions: with times; at equal times the higher position counts as later.
        count: how many items of each user.
        since: only items last read at this time or later (seconds since 1970); others stay in training.

    Raises:
        UsageError: count is below 1.
        DataError: nobody has more than `count` items, one of them since then.
    """
    if count < 1:
        raise UsageError("So many items cannot be held out", found=count, allowed="1 or more")
    order = np.lexsort((interactions.items, interactions.times, interactions.users))
    owners = interactions.users[order]
    of_user = np.bincount(owners, minlength=interactions.user_count)
    ends = np.cumsum(of_user)
    from_end = ends[owners] - np.arange(len(order))
    last = (from_end <= count) & (of_user[owners] > count) & (interactions.times[order] >= since)
    held = np.zeros(len(order), np.bool_)
    held[order[last]] = True
    if not held.any():
        raise DataError(
            "There is nothing to hold out",
            found=f"{interactions.user_count} users with {len(interactions)} pairs",
            allowed=f"a user with more than {count} items",
            next_step="widen the window of interactions.sql",
        )
    return HeldOut(interactions.take(~held), interactions.take(held))


def next_reads(before: Interactions, after: Interactions, *, since: int) -> HeldOut:
    """What readers with a history read next and had not read before: the question that a nightly run answers.

    Args:
        before: what was known at the time.
        after: pairs of a later time, with the same numbers of users and items (`interactions.read_together`).
        since: that time, in seconds since 1970; an earlier pair of `after` does not count.

    Raises:
        DataError: nobody read anything new.
    """
    known = before.users.astype(np.int64) * before.item_count + before.items
    later = after.users.astype(np.int64) * after.item_count + after.items
    new = (after.times >= since) & ~np.isin(later, known) & np.isin(after.users, before.users)
    if not new.any():
        raise DataError(
            "No reader with a history read anything new",
            found=f"{len(before)} pairs before, {len(after)} after",
            next_step="check the two dates of interactions.sql",
        )
    return HeldOut(before, after.take(new))


def evaluate(
    lists: Array, held: HeldOut, candidates: int, *, k: int = 10, resamples: int = 200, seed: int = 0
) -> Evaluation:
    """The quality of recommended lists, as JSON-ready values; each metric is a mean over users with an interval.

    `precision` is hits / k. `precision_of_possible` divides all hits by all that were possible, the lower of k and a
    user's held-out items (what the library implicit calls precision). `ndcg` has binary relevance and the ideal
    of the same lower number (Järvelin & Kekäläinen 2002). `recall` is hits over held-out items. `coverage` is the
    share of the candidates that anybody was recommended.

    Args:
        lists: (users, n ≥ k), positions of items by rank, -1 where a list ends, for `held.users` in that order.
        held: what was held out.
        candidates: how many items could have been recommended.
        k: the length that counts.
        resamples: of the bootstrap over users; 0 gives values without intervals.
        seed: of the bootstrap.

    Raises:
        DataError: the lists are not those of the users with something to find.
    """
    top = _checked(lists, held, k)
    quality = per_user(top, held, k)
    possible = np.minimum(k, _sizes(held)).astype(np.float64)
    prepared: dict[str, metrics.Metric] = {name: metrics.mean_of(values) for name, values in quality.items()}
    hits = quality["precision"] * k
    prepared["precision_of_possible"] = lambda weights: float(np.dot(weights, hits) / np.dot(weights, possible))
    found = metrics.intervals(prepared, len(top), resamples, seed)
    recommended = len(np.unique(top[top >= 0]))
    return {
        "kind": "ranking",
        "users": len(top),
        "held_out": len(held.test),
        "k": k,
        "candidates": candidates,
        **{name: interval.to_json() for name, interval in found.items()},
        "coverage": {"value": recommended / candidates if candidates else None},
    }


def gain(
    lists: Array, baseline: Array, held: HeldOut, *, k: int = 10, resamples: int = 200, seed: int = 0
) -> Mapping[str, Mapping[str, float | None]]:
    """What lists are better by than a baseline's, as means over the same users with paired intervals."""
    better = per_user(_checked(lists, held, k), held, k)
    other = per_user(_checked(baseline, held, k), held, k)
    prepared = {name: metrics.mean_of(values - other[name]) for name, values in better.items()}
    found = metrics.intervals(prepared, len(lists), resamples, seed)
    return {name: interval.to_json() for name, interval in found.items()}


def per_user(top: Array, held: HeldOut, k: int) -> dict[str, Array]:
    """Precision, NDCG and recall at k of each user's list, each (users,), float64."""
    wanted = held.test.users.astype(np.int64) * held.test.item_count + held.test.items
    offered = held.users.astype(np.int64)[:, None] * held.test.item_count + top
    hit = np.isin(offered, wanted) & (top >= 0)
    gains = 1 / np.log2(np.arange(2, k + 2))
    sizes = _sizes(held)
    ideal = np.cumsum(gains)[np.minimum(k, sizes) - 1]
    return {"precision": hit.sum(axis=1) / k, "ndcg": hit @ gains / ideal, "recall": hit.sum(axis=1) / sizes}


def _sizes(held: HeldOut) -> Array:
    """How many items each of the users has to find."""
    return np.unique(held.test.users, return_counts=True)[1]


def _checked(lists: Array, held: HeldOut, k: int) -> Array:
    if len(lists) != len(held.users) or lists.shape[1] < k:
        raise DataError(
            "The lists are not those of the evaluation",
            found=f"shape {lists.shape}",
            allowed=f"({len(held.users)}, {k} or more)",
        )
    return lists[:, :k]
