"""Read the features of an earlier date again, and compare them with the features that its run read.

A run keeps fingerprints of a sample of its rows (see `raypipe.score.fingerprints`). The same code takes them again
from a read through the frozen SQL, so a difference is a difference in the source: late rows, rows that were updated in
place, or a query that looks at the clock or beyond its date.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import date

from raypipe.clickhouse.client import Client
from raypipe.data.slices import unsliced
from raypipe.errors import DataError
from raypipe.proof import published
from raypipe.score import gate
from raypipe.score.fingerprints import condition, taken
from raypipe.score.runs import Run


@dataclass(frozen=True)
class Change:
    """The number of sampled entities with another value in a column now than when the run read it."""

    column: str
    entities: int


@dataclass(frozen=True)
class Audit:
    """The comparison of a run's features with the source now.

    Attributes:
        rows: the rows of the population now.
        same_population: whether the very same keys make the population now.
        sampled: the entities of the run's sample.
        new: entities of the sample now that the run did not read.
        gone: entities of the run's sample that are gone now.
        changes: every column in the order of the matrix, with 0 entities where it is the same.
    """

    run: Run
    rows: int
    same_population: bool
    sampled: int
    new: int
    gone: int
    changes: tuple[Change, ...]
    seconds: float

    @property
    def changed(self) -> tuple[Change, ...]:
        """Return the columns that changed, the most entities first."""
        return tuple(sorted((item for item in self.changes if item.entities), key=lambda item: -item.entities))

    @property
    def compared(self) -> int:
        """Return the number of entities with values then and now."""
        return self.sampled - self.gone

    @property
    def is_same(self) -> bool:
        """Return whether the source yields what the run read."""
        return self.same_population and not (self.new or self.gone or self.changed)


def audit(client: Client, pipeline: str, day: date | None) -> Audit:
    """Compare the features of a published date with those that the source yields now.

    Raises:
        UsageError: nothing is published for the date.
        DataError: the run keeps no fingerprints, or its SQL can no longer run.
    """
    started = time.perf_counter()
    known = published.find(client, pipeline, day)
    then = published.fingerprints(client, known.run.run_id)
    if then is None:
        raise DataError(
            f"The run {known.run.run_id} keeps no fingerprints of its features",
            allowed="a run whose slices this version of raypipe scored",
            next_step=f"run the date again: `raypipe score {pipeline} --date {known.run.date}`",
        )
    sample = f"SELECT * FROM (\n{unsliced(known.select)}\n) WHERE {condition(then.every)}"
    with known.reading():
        population = gate.population(client, known.select, known.parameters)
        now = taken(client.table(sample, known.parameters), then)
    then_at, now_at = then.shared(now)
    entities = (then.marks[then_at] != now.marks[now_at]).sum(axis=0)
    return Audit(
        known.run,
        population.rows,
        (population.rows, population.checksum) == (known.run.source_rows, known.run.source_checksum),
        len(then.keys),
        len(now.keys) - len(now_at),
        len(then.keys) - len(then_at),
        tuple(Change(name, int(count)) for name, count in zip(then.columns, entities, strict=True)),
        round(time.perf_counter() - started, 3),
    )
