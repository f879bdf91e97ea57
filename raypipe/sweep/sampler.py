"""What a sweep asks for, and who is told how its trials do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raypipe.registry.trials import FinishedTrial


class Watcher(Protocol):
    """Is told of each trial, in this process."""

    def started(self, trial: str, values: Mapping[str, Any]) -> None:
        """A trial runs, with these values."""

    def ended(self, trial: str, values: Mapping[str, Any], result: Mapping[str, Any]) -> None:
        """A trial ended, or was stopped for being worse than others; its last report."""

    def failed(self, trial: str, values: Mapping[str, Any], error: str) -> None:
        """A trial crashed, maybe before it started, and why."""


@dataclass(frozen=True)
class Search:
    """How a sweep is searched.

    Attributes:
        name: of the sweep.
        trials: how many, those of an earlier process counted.
        concurrent: at a time at most; None for as many as there is room for.
        cpus: of each trial.
        higher: whether a higher metric is better.
        seed: of the searcher.
        first: the pipeline's own point, tried first; None where the space does not hold it.
        most_rounds: what ASHA takes for the end of a trial.
        grace_rounds: what every trial gets.
        over: the trials of an earlier process that are over: nothing is fitted for them, Optuna and ASHA know them.
        unfinished: the values of those that it began and did not end: they are tried next.
    """

    name: str
    trials: int
    concurrent: int | None
    cpus: int
    higher: bool
    seed: int
    first: Mapping[str, Any] | None
    most_rounds: int
    grace_rounds: int
    over: Sequence[FinishedTrial] = ()
    unfinished: Sequence[Mapping[str, Any]] = ()

    @property
    def mode(self) -> str:
        """What Optuna and ASHA call the direction of the metric."""
        return "max" if self.higher else "min"
