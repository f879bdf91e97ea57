"""Reference implementations for tests of recommendations: weights, popularity, and the last items held out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa

from raypipe.recommend.evaluation import Holdout
from raypipe.recommend.interactions import DAY_SECONDS, Interactions, positions_of, seconds_of
from raypipe.registry.rows import unix_seconds


def weigh(types: Any, times: Any, weights: Mapping[str, float], half_life_days: float, as_of: datetime) -> np.ndarray:
    """Return each event's weight by type, halved every `half_life_days` before `as_of`; 0 days for no decay."""
    names = pa.array(list(weights), pa.string())
    of_type = np.append(np.array(list(weights.values()), np.float64), 0.0)[positions_of(types, names)]
    age = (unix_seconds(as_of) - seconds_of(times)) / DAY_SECONDS
    decay = np.exp2(-np.maximum(age, 0) / half_life_days) if half_life_days else 1.0
    return np.where(age >= 0, of_type * decay, 0.0)


def popularity(pairs: Interactions, as_of: datetime | None = None, half_life_days: float = 0.0) -> pa.Array:
    """Count the users of each item, each halved every `half_life_days` before `as_of`."""
    decay = np.exp2((pairs.times - unix_seconds(as_of)) / (DAY_SECONDS * half_life_days)) if as_of else None
    return pa.array(np.bincount(pairs.items, weights=decay, minlength=pairs.item_count).astype(np.float64))


def leave_last_out(pairs: Interactions, since: int) -> Holdout:
    """Hold out the last item of each user with several items, if it was read at `since` or later."""
    order = np.lexsort((pairs.items, pairs.times, pairs.users))
    owners = pairs.users[order]
    last = np.append(np.diff(owners) != 0, True) & (np.bincount(owners)[owners] > 1)
    held = np.zeros(len(order), np.bool_)
    held[order[last & (pairs.times[order] >= since)]] = True
    return Holdout(pairs.take(~held), pairs.take(held))
