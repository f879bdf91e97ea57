"""Judge chaos: read the views all the time, and compare targets, views and source when all is calm."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.endpoint import Endpoint
from raypipe.errors import RaypipeError
from tests.faults.servers import FEATURES

# A row of the domain table has its source's number of sessions, whose thousands are the state of the source.
STATE = 1000
DOMAIN = "customer_churn_predictions"
SHARED = "ml_model_predictions"
VIEWS = {"raypipe_current_customer_churn_predictions": DOMAIN, "raypipe_current_predictions": SHARED}
# The columns of an entity's key, of a run's mark, of the source's state and of the score.
COLUMNS = {
    DOMAIN: ("user_id", "toString(created_at)", f"intDiv(total_sessions, {STATE})", "toFloat64(churn_probability)"),
    SHARED: ("entity_id", "batch_id", "0", "toFloat64(toFloat32(prediction_value))"),
}
ZEROS = ("lost", "doubled", "of nobody", "mixed", "wrong reads", "stranded", "unexpected")


@dataclass
class Tally:
    """The results of a seed.

    Attributes:
        wrong: what went wrong, by kind; all must be 0.
    """

    rounds: int = 0
    commands: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    reads: int = 0
    unanswered: int = 0
    wrong: Counter[str] = field(default_factory=Counter)
    history: list[str] = field(default_factory=list)

    def blame(self, kind: str, text: str, number: int = 1) -> None:
        """Count what went wrong, and keep the text."""
        if number:
            self.wrong[kind] += number
            self.history.append(f"{kind} {number}: {text}")


class Reader(threading.Thread):
    """Read a view's days in a loop.

    Each answer must have every entity once, all rows of one run and of one state of the source.
    """

    def __init__(self, endpoint: Endpoint, view: str, days: Iterable[date], population: int) -> None:
        super().__init__(daemon=True)
        self._endpoint = endpoint
        self._view = view
        self._days = tuple(days)
        self._whole = (population, population, 1, 1)
        self._ended = threading.Event()
        self.reads = 0
        self.unanswered = 0
        self.wrong: Counter[str] = Counter()

    def run(self) -> None:
        key, mark, state, _ = COLUMNS[VIEWS[self._view]]
        sql = (
            f"SELECT count(), uniqExact({key}), uniqExact({mark}), uniqExact({state}) FROM {self._view}"
            " WHERE prediction_date = {day:Date}"
        )
        published: set[date] = set()
        with Client(self._endpoint) as client:
            while not self._ended.wait(0.05):
                for day in self._days:
                    try:
                        answer = client.rows(sql, {"day": day})[0]
                    except RaypipeError:
                        # The server is killed now and then.
                        self.unanswered += 1
                        continue
                    self.reads += 1
                    if answer == self._whole:
                        published.add(day)
                    elif answer[0] or day in published:
                        self.wrong[f"{self._view} of {day}: {answer} rows, entities, runs and states"] += 1

    def end(self) -> None:
        """Wait for the last read."""
        self._ended.set()
        self.join(60)

    def report(self, tally: Tally) -> None:
        """End, and add the reads to the tally."""
        if not self.is_alive():
            tally.blame("unexpected", f"the reader of {self._view} is gone")
        self.end()
        tally.reads += self.reads
        tally.unanswered += self.unanswered
        for what, times in self.wrong.items():
            tally.blame("wrong reads", what, times)


def compare(client: Client, tally: Tally, day: date, state: int, what: str) -> None:
    """Compare targets and views with the source, by key; rows of an earlier state of it count as mixed."""
    scores: dict[str, dict[str, float]] = {}
    expected = {key for (key,) in client.rows(f"SELECT user_id FROM {FEATURES} WHERE feature_date = '{day}'")}
    for name, table in (*((table, table) for table in COLUMNS), *VIEWS.items()):
        columns = ", ".join(COLUMNS[table])
        rows = client.rows(f"SELECT {columns} FROM {name} WHERE prediction_date = {{day:Date}}", {"day": day})
        place = f"{what}, {name} of {day}"
        keys = [row[0] for row in rows]
        tally.rows += len(rows)
        tally.blame("lost", place, len(expected - set(keys)))
        tally.blame("doubled", place, len(keys) - len(set(keys)))
        tally.blame("of nobody", place, len(set(keys) - expected))
        tally.blame("mixed", f"{place}: {_counts(rows, 1)}", _beside(rows, 1))
        if table == DOMAIN:
            tally.blame("mixed", f"{place}: states {_counts(rows, 2)}", len(rows) - _counts(rows, 2)[state])
        scores[name] = {row[0]: row[3] for row in rows}
    first = scores[DOMAIN]
    for name, others in scores.items():
        differing = sum(abs(first.get(key, score) - score) > 1e-6 for key, score in others.items())
        tally.blame("mixed", f"{what}, {name} of {day} has other scores than {DOMAIN}", differing)


def _counts(rows: Iterable[tuple[Any, ...]], column: int) -> Counter[Any]:
    return Counter(row[column] for row in rows)


def _beside(rows: list[tuple[Any, ...]], column: int) -> int:
    """Return the number of rows that are not of the run with most rows."""
    return len(rows) - max(_counts(rows, column).values(), default=0)
