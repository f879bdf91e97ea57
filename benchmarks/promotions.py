"""Simulate promotions: how often a version that is no better takes over, and how often a better version does.

    python benchmarks/promotions.py --histories 400

A history is a champion (or a baseline, for a first version) and a new version on every night, all judged by
`raypipe.evaluation.decision` on the night's test rows, as a fit does. It ends with the first promotion. No server is
needed.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from raypipe.evaluation.challenges import error_of
from raypipe.evaluation.decision import decide, measured

NIGHTS = 90
# Labels of a horizon of 30 days: a thirtieth of the outcomes is new each night.
ROLLING, FRESH = 1 / 30, 1.0
# The share of a version's own error that all versions have in common.
SHARED = 0.8


@dataclass(frozen=True)
class Case:
    """A simulated pipeline.

    Attributes:
        first: whether the new version meets a baseline instead of a champion.
        nights: the most new versions.
        rows: the test rows of a night.
        renewed: the share of the test rows that is new each night.
        noise: the deviation of the new version's error, where the rival's is 1; below 1 it is truly better.
    """

    first: bool
    nights: int
    rows: int = 1_000
    renewed: float = ROLLING
    noise: float = 1.0


class Rows:
    """The test rows of one night after another: outcomes, and the scores of the standing rival."""

    def __init__(self, case: Case, draw: np.random.Generator) -> None:
        self._case, self._draw = case, draw
        self._signal, self._common, self._own, self.y = self._new(case.rows)

    def _new(self, rows: int) -> list[np.ndarray]:
        signal, common, own = self._draw.normal(size=(3, rows))
        return [signal, common, own, self._draw.random(rows) < 1 / (1 + np.exp(-signal))]

    def next_night(self) -> None:
        """Replace the share of the rows that is new each night."""
        new = np.flatnonzero(self._draw.random(self._case.rows) < self._case.renewed)
        for column, values in zip((self._signal, self._common, self._own, self.y), self._new(len(new)), strict=True):
            column[new] = values

    @property
    def rival(self) -> np.ndarray:
        """Return the scores of the rival, which stay with their rows."""
        return self._scores(1.0, self._own)

    def challenger(self) -> np.ndarray:
        """Return the scores of a version that was fitted anew."""
        return self._scores(self._case.noise, self._draw.normal(size=self._case.rows))

    def _scores(self, noise: float, own: np.ndarray) -> np.ndarray:
        return self._signal + noise * (np.sqrt(SHARED) * self._common + np.sqrt(1 - SHARED) * own)


def promoted(case: Case, rows: Rows, challenge: int) -> bool:
    """Return whether a fit would promote a new version of a night, and not as provisional."""
    y, rival, challenger = rows.y.astype(np.float32), rows.rival, rows.challenger()
    if measured("auc", y, challenger) <= measured("auc", y, rival):
        # No interval around such a difference is above zero; to leave it out halves the time.
        return False
    if case.first:
        decision = decide(y, challenger, None, {"baseline": rival}, seed=7)
    else:
        decision = decide(y, challenger, rival, {}, seed=7, error=error_of(challenge))
    return decision.promote and not decision.provisional


def promoted_on(case: Case, seed: int) -> int:
    """Return the night of the first promotion; 0 without any."""
    rows = Rows(case, np.random.default_rng(seed))
    for night in range(1, case.nights + 1):
        if promoted(case, rows, night):
            return night
        rows.next_night()
    return 0


def simulate(case: Case, histories: int) -> float:
    """Return the share of the histories with a promotion."""
    with ProcessPoolExecutor() as pool:
        nights = pool.map(partial(promoted_on, case), range(histories), chunksize=max(1, histories // 50))
        return float(np.mean([night > 0 for night in nights]))


def true_gain(noise: float) -> float:
    """Return by how much the AUC of a version with this noise is above the rival's, on a million rows."""
    rows = Rows(Case(first=True, nights=1, rows=1_000_000, noise=noise), np.random.default_rng(1))
    y = rows.y.astype(np.float32)
    return measured("auc", y, rows.challenger()) - measured("auc", y, rows.rival)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--histories", type=int, default=400, help="histories of each case")
    parser.add_argument("--rows", type=int, default=1_000, help="test rows of a night")
    parser.add_argument("--noise", type=float, default=0.8, help="noise of a truly better version; an equal one has 1")
    parser.add_argument("--json", action="store_true", help="print one document on stdout")
    arguments = parser.parse_args()
    rates = []
    for noise in (1.0, arguments.noise):
        for first, nights, renewed in (
            (True, 1, FRESH),
            (False, 1, FRESH),
            (False, NIGHTS, ROLLING),
            (False, NIGHTS, FRESH),
        ):
            case = Case(first, nights, arguments.rows, renewed, noise)
            rate = simulate(case, arguments.histories)
            rates.append({**asdict(case), "gain": true_gain(noise), "promoted": rate})
            version = f"AUC {rates[-1]['gain']:+.4f}" if noise < 1 else "equally good"
            rival = "first version" if first else f"challenger, {nights} night{'s' * (nights > 1)}"
            print(f"{version}, {rival}, {renewed:.0%} of rows new a night: {rate:.1%} promoted", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"histories": arguments.histories, "cases": rates}, indent=2))


if __name__ == "__main__":
    main()
