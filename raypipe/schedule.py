"""A whole night: the day's features, then every enabled pipeline in the order of what they read.

One that fails does not stop the others: each writes its own rows, all of them or none.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from raypipe import ads, baselines, nightly, snapshots
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.config.load import Loaded
from raypipe.errors import ConfigError, GateRefused, RaypipeError

# The step before all pipelines; a pipeline may name it in `after`.
FEATURES = snapshots.PIPELINE

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Step:
    """What became of one pipeline.

    Attributes:
        status: `refused` when a gate held it back, `failed` when an error ended it.
        rows: rows published, users with features, or models compared.
        said: why it was refused or failed; '' when it is done.
    """

    name: str
    status: Literal["done", "refused", "failed"]
    rows: int
    seconds: float
    said: str


def ordered(after: Mapping[str, Sequence[str]]) -> list[str]:
    """The pipelines so that each comes behind those that it names, in alphabetical order otherwise.

    Args:
        after: by pipeline, what must run before it; a name that is not run tonight counts for nothing.

    Raises:
        ConfigError: some wait for each other.
    """
    graph = {name: sorted(set(before) & after.keys()) for name, before in sorted(after.items())}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        raise ConfigError(
            "Pipelines wait for each other", found=" → ".join(error.args[1]), next_step="take one out of `after`"
        ) from error


def run(endpoint: Endpoint, pipelines: Mapping[str, Loaded], day: date | None, progress: Progress) -> Iterator[Step]:
    """Does the night, and yields each step as it ends.

    Args:
        endpoint: the ClickHouse.
        pipelines: the configs of the pipelines to run, by name.
        day: the snapshot; None for the newest.
        progress: told the pipeline and its stage, what is done and what there is to do.

    Raises:
        ConfigError: some wait for each other; nothing is done then.
    """
    order = ordered({name: loaded.config.after for name, loaded in pipelines.items()})
    yield _step(FEATURES, partial(_features, endpoint, day, _of(FEATURES, progress)))
    for name in order:
        yield _step(name, partial(_published, endpoint, pipelines[name], day, _of(name, progress)))


def _published(endpoint: Endpoint, loaded: Loaded, day: date | None, progress: Progress) -> int:
    if loaded.config.ads is not None:
        return ads.run(endpoint, loaded, day, progress).outcome.run.rows_published
    if loaded.config.baselines is not None:
        return baselines.require_whole(baselines.run(endpoint, loaded, day, progress))
    return nightly.run(endpoint, loaded, day, progress)[1].outcome.run.rows_published


def _features(endpoint: Endpoint, day: date | None, progress: Progress) -> int:
    with Client(endpoint) as client:
        now = datetime.now(UTC).replace(microsecond=0)
        return sum(one.rows for one in snapshots.compute(client, day, run_at=now, progress=progress).days)


def _step(name: str, work: Callable[[], int]) -> Step:
    started = time.perf_counter()

    def ended(status: Literal["done", "refused", "failed"], rows: int = 0, said: str = "") -> Step:
        return Step(name, status, rows, round(time.perf_counter() - started, 3), said)

    try:
        return ended("done", work())
    except GateRefused as refused:
        return ended("refused", said=str(refused))
    except RaypipeError as error:
        return ended("failed", said=str(error))
    except Exception as error:
        # A fault in one pipeline's own model or SQL must not cost the others their night.
        return ended("failed", said=f"an unexpected {type(error).__name__}: {error}")


def _of(name: str, progress: Progress) -> Progress:
    return lambda stage, done, total: progress(f"{name}: {stage}", done, total)
