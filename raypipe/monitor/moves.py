"""Tell how far a series has moved in two nights, beside the moves of the weeks before.

A behaviour that changes overnight moves features over weeks, by a little each night and always in one direction. Two
nights share most of their readers, so that the mean of a night is far more exact beside the last nights than beside
another sample. A distance of two distributions has no direction, and small steps drown in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from math import isfinite, sqrt

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.monitor.histograms import SCORE, Histogram, Night, Series
from raypipe.project import shipped

# The nights that tell how much is usual, and how many of them have to be there.
USUAL_DAYS, LEAST_NIGHTS = 28, 14
# The more series are compared, the more it takes: one score, its slices and the features, the slices of features.
SCORE_TIMES, COLUMN_TIMES, SLICE_TIMES = 5.0, 7.0, 9.0
# A smaller part of the standard deviation is no message, however exact the mean.
LEAST_MOVE = 0.03
# A reason of an alert with these words is of such a move.
MOVED = "times its usual move"


@dataclass(frozen=True)
class Usual:
    """The moves of a series in the weeks before.

    Attributes:
        since: the date two nights ago.
        mean: the mean of that night, NaN without a value; `missing` is its share of missing values.
        mean_move: the root mean square of the moves in two nights; likewise `missing_move`.
    """

    since: date
    mean: float
    missing: float
    mean_move: float
    missing_move: float


def usual(client: Client, night: Night) -> dict[Series, Usual]:
    """Return the usual moves of each series that has enough accepted nights."""
    bound = {
        "pipeline": night.pipeline,
        "date": night.date,
        "since": night.date - timedelta(days=USUAL_DAYS),
        "version": night.model_version,
        "score": SCORE,
        "nights": LEAST_NIGHTS,
    }
    rows = client.rows(load(shipped() / "sql" / "monitoring" / "usual_moves.sql").text, bound)
    return {Series(*row[:3]): Usual(*row[3:]) for row in rows}


def moved(series: Series, now: Histogram, before: Usual) -> str:
    """Return in words how a series has moved by more than usual; empty if it has not."""
    times = _times(series)
    missing = now.missing
    moves = (
        ("mean", now.mean - before.mean, before.mean_move, now.deviation, now.width),
        ("share of missing values", missing - before.missing, before.missing_move, sqrt(missing * (1 - missing)), 1.0),
    )
    for name, move, usual_move, deviation, width in moves:
        # Two rows that change from the lowest to the highest value are usual.
        least = max(usual_move, 2 * width / max(now.rows, 1))
        if isfinite(move) and abs(move) >= max(times * least, LEAST_MOVE * deviation) > 0:
            return f"the {name} moved by {abs(move) / least:.0f} {MOVED} since {before.since}"
    return ""


def _times(series: Series) -> float:
    if series == Series(SCORE):
        return SCORE_TIMES
    return SLICE_TIMES if series.slice_column and series.column != SCORE else COLUMN_TIMES
