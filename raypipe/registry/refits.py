"""Read which fits of a pipeline there were and why, and what monitoring found about its champion."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.registry.record import Registered
from raypipe.registry.rows import statement
from raypipe.registry.training_runs import COMPLETED

BY_HAND = "by hand"
FIRST = "first"


@dataclass(frozen=True)
class Cause:
    """The reason of a fit, which its training run keeps in `hyperparameters.refit`.

    Attributes:
        trigger: `first`, `by hand`, or the value of `model.refit`.
        date: the last day with data that the fit may use.
        reason: the facts, in a sentence.
    """

    trigger: str
    date: date
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Return the cause as JSON-ready values."""
        return {"trigger": self.trigger, "date": self.date.isoformat(), "reason": self.reason}


@dataclass(frozen=True)
class PastFit:
    """An earlier fit, with the date and the trigger of its cause."""

    status: str
    trigger: str
    date: date

    @property
    def is_completed(self) -> bool:
        """Return whether the fit has made a version."""
        return self.status == COMPLETED


def past_fits(client: Client, pipeline: str) -> list[PastFit]:
    """Return the fits of a pipeline that have a cause, newest first."""
    return [PastFit(*row) for row in client.rows(statement("refits").text, {"pipeline": pipeline})]


def alerts(client: Client, champion: Registered, kind: str, before: date, many: int) -> Mapping[date, tuple[str, ...]]:
    """Return what monitoring found on a champion's latest dates, newest first.

    Args:
        kind: `drift`, or `performance` for validated predictions.
        before: only dates, or outcomes, before this day.
    """
    bound = {"model_id": champion.model_id, "kind": kind, "before": before, "many": many}
    return {day: tuple(names) for day, names in client.rows(statement("alerts").text, bound)}
