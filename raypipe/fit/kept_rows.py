"""Decide which share of a snapshot's rows a fit writes, so that its cost does not grow with the population."""

from collections.abc import Mapping, Sequence
from typing import Any

from raypipe.clickhouse import sharding
from raypipe.clickhouse.client import Client
from raypipe.fit.recipe import Recipe, Snapshot


def keep(
    client: Client,
    recipe: Recipe,
    snapshot: Snapshot,
    queries: Sequence[str],
    parameters: Mapping[str, Any],
    tested: int,
) -> float:
    """Return the share of a snapshot's rows to write; together the training snapshots have `max_train_rows`.

    Args:
        queries: as of `kept_share`.
        tested: the most test rows of a snapshot that only tests.
    """
    shares = recipe.shares
    if "train" not in snapshot.parts:
        return kept_share(client, tested / shares.test, queries, parameters)
    snapshots = sum("train" in each.parts for each in recipe.snapshots)
    most = shares.max_train_rows / snapshots / (1 - shares.test - shares.validation)
    return kept_share(client, most, queries, parameters)


def kept_share(client: Client, most: float, queries: Sequence[str], parameters: Mapping[str, Any]) -> float:
    """Return the share of a snapshot's rows that leaves at most `most`.

    Args:
        queries: each yields at least the labelled rows; the cheaper comes first, and mostly there are so few that the
            other need not run.
    """
    share = 0.0
    for sql in queries:
        rows = sum(
            int(shard.value(f"SELECT count() FROM (\n{sql}\n)", parameters)) for shard in sharding.shards(client)
        )
        share = max(share, most / max(1, rows))
        if share >= 1:
            return 1.0
    return share
