"""Find features that give the label away: too good alone, filled only after the outcome, or far above all others."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from raypipe.evaluation import metrics
from raypipe.models import linear
from raypipe.models.links import linked

Array = npt.NDArray[Any]

SUSPICION_ROWS = 50_000
# A value or a gap that decides the label: its rows, the share of them with one label, and the share of that label.
STATE_ROWS, STATE_PURITY, STATE_COVERAGE = 50, 0.995, 0.1
# Rows of other labels that chance would put there; fewer say nothing.
STATE_EXPECTED = 20
# A feature of this quality alone is suspicious if a line through all other features is that much worse.
ALONE, APART = 0.8, 0.15
# Shares of the spread that a single feature explains.
NUMBER_LIMIT = 0.99
BINS = 50
PENALTY = 10.0


@dataclass(frozen=True)
class Leak:
    """A feature that may know the label, and the reason for the suspicion."""

    column: str
    reason: str


def suspicious_features(
    x: Array, y: Array, columns: Sequence[str], limit: float = 0.99, kind: str = "binary"
) -> list[Leak]:
    """Return the features that may know the label, in the order of the columns.

    - Alone: a feature alone reaches an AUC of `limit` in either direction, or for numbers and classes explains
      NUMBER_LIMIT of the spread. A gap counts as the smallest or the largest value: it can leak the label, too.
    - A state: nearly all rows in which a value is filled, missing, or not the usual one have the same class.
    - Apart: a feature alone is good, and a line through all the others is far worse.

    Larger inputs are sampled to SUSPICION_ROWS.

    Args:
        y: (rows,), the label; the number of the class for classes.
    """
    if len(y) > SUSPICION_ROWS:
        rows = _sample(y, kind)
        x, y = x[rows], y[rows]
    alone = [_quality(x[:, at], y, kind) for at in range(x.shape[1])]
    found: dict[int, str] = {}
    for at, quality in enumerate(alone):
        shown = f"AUC {(quality + 1) / 2:.4f}" if kind == "binary" else f"{quality:.1%} of the label's spread"
        if quality >= (2 * limit - 1 if kind == "binary" else NUMBER_LIMIT):
            found[at] = f"{columns[at]} alone reaches {shown}: does it know the label?"
        elif kind != "number" and (state := _state(x[:, at], y)):
            found[at] = f"{columns[at]} {state}: is it known before the label?"
    # Judged without the features that are suspicious already. Several classes are too much for a line.
    others = [at for at in range(x.shape[1]) if at not in found] if kind != "classes" else []
    for at, rest in _apart(x, y, kind, others, alone):
        found[at] = (
            f"{columns[at]} alone explains {alone[at]:.0%} of the label, and a line through all other features"
            f" {rest:.0%}: is it known before the label?"
        )
    return [Leak(columns[at], reason) for at, reason in sorted(found.items())]


def _sample(y: Array, kind: str) -> Array:
    """Draw rows; of a binary label up to half from each class, as an AUC needs both."""
    generator = np.random.default_rng(0)
    if kind != "binary":
        return generator.choice(len(y), SUSPICION_ROWS, replace=False)
    classes = [np.flatnonzero(y == label) for label in (0, 1)]
    drawn = [generator.choice(rows, min(len(rows), SUSPICION_ROWS // 2), replace=False) for rows in classes]
    return np.concatenate(drawn)


def _quality(values: Array, y: Array, kind: str) -> float:
    """Return the quality of a feature alone, up to 1: the Gini coefficient, or the explained share of the spread."""
    if kind == "binary":
        return 2 * _auc_alone(values, y) - 1
    targets = y[:, None] if kind == "number" else np.eye(int(y.max()) + 1)[y.astype(np.int64)]
    spread = float(targets.var(axis=0).sum())
    place = _bins(values)
    rows = np.bincount(place)
    known = rows > 1
    left = 0.0
    for target in targets.T.astype(np.float64):
        sums, squares = np.bincount(place, target), np.bincount(place, target**2)
        # A bin's own spread, without the share that its mean fits by chance.
        left += float(((squares[known] - sums[known] ** 2 / rows[known]) * rows[known] / (rows[known] - 1)).sum())
    return max(0.0, 1 - left / rows[known].sum() / spread) if spread > 0 and known.any() else 0.0


def _bins(values: Array) -> npt.NDArray[np.int64]:
    present = values[~np.isnan(values)]
    edges = np.unique(np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])) if len(present) else np.empty(0)
    return np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))


def _auc_alone(values: Array, y: Array) -> float:
    missing = np.isnan(values)
    fills = (-np.inf, np.inf) if missing.any() else (0.0,)
    weights = np.ones(len(y))
    areas = [metrics.Ranking(y, np.where(missing, fill, values)).auc(weights) for fill in fills]
    return max(max(area, 1 - area) for area in areas)


def _state(values: Array, y: Array) -> str:
    """Describe a state of a feature that decides the class; '' without one."""
    labels, counts = np.unique(y, return_counts=True)
    for name, rows in _states(values):
        size = int(rows.sum())
        if size < STATE_ROWS:
            continue
        own = np.array([np.count_nonzero(y[rows] == label) for label in labels])
        best = int(own.argmax())
        expected = size * (1 - counts[best] / len(y))
        if (
            own[best] >= STATE_PURITY * size
            and own[best] >= STATE_COVERAGE * counts[best]
            and expected >= STATE_EXPECTED
        ):
            return f"is {name} in {size:,} rows, and {own[best] / size:.1%} of these have label {labels[best]:g}"
    return ""


def _states(values: Array) -> Iterator[tuple[str, Array]]:
    missing = np.isnan(values)
    if missing.any():
        yield "missing", missing
        yield "filled", ~missing
    known, counts = np.unique(values[~missing], return_counts=True)
    if len(known) > 1 and counts.max() >= 0.2 * len(values):
        usual = known[counts.argmax()]
        yield f"{usual:g}", values == usual
        yield f"not {usual:g}", ~missing & (values != usual)


def _apart(x: Array, y: Array, kind: str, others: Sequence[int], alone: Sequence[float]) -> Iterator[tuple[int, float]]:
    """Yield the features that are good alone, with the quality of a line through the others that is not."""
    for at in others:
        rest = [other for other in others if other != at]
        if alone[at] >= ALONE and rest:
            quality = _line_quality(x[:, rest], y, kind)
            if quality < alone[at] - APART:
                yield at, quality


def _line_quality(x: Array, y: Array, kind: str) -> float:
    """Return the quality of a line on the rows that it was not fitted on, every second row."""
    blank = linear.unfitted(x, 1)
    line = linear.fitted(blank, blank.standardised(x[::2]), y[::2], kind, PENALTY)
    scores, held = linked(line.margins(x[1::2]), kind), y[1::2]
    if kind == "binary":
        return 2 * metrics.Ranking(held, scores).auc(np.ones(len(held))) - 1
    return metrics.r_squared(held, scores)(np.ones(len(held)))
