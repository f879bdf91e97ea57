"""Read the moments of an experiment, and refuse what cannot be compared."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.config.experiment import ExperimentConfig, Metric
from raypipe.errors import DataError
from raypipe.experiment.moments import Moments, from_triangle, union, with_constant
from raypipe.experiment.questions import SETTINGS, Variables

# Per metric, in `complete` of cells.sql.
MISSING, WITHOUT_COVARIATE, COMPLETE = 0, 1, 2


@dataclass(frozen=True)
class ArmUnits:
    """The units of an arm, and the days of their first and last first exposure."""

    units: int
    first_day: date
    last_day: date


@dataclass(frozen=True)
class Cells:
    """The rows of cells.sql.

    Attributes:
        arms: by name, in the order of the config.
        crossed: the number of units with rows of several arms.
        undeclared: the number of units whose arm the config does not name.
    """

    rows: tuple[Mapping[str, Any], ...]
    arms: Mapping[str, ArmUnits]
    crossed: int
    undeclared: int

    def moments(self, at: int, metric: Metric, variables: Variables) -> dict[str, Moments]:
        """Return the moments of a metric per arm, with the covariate's mean for units that lack the covariate.

        Args:
            at: the metric's place in the config.

        Raises:
            DataError: an arm has fewer than two units with a value, or a proportion has other values than 0 and 1.
        """
        _require_proportion(metric, at, self.rows)
        known = {name: self._groups(at, name, COMPLETE) for name in self.arms}
        lacking = {name: self._groups(at, name, WITHOUT_COVARIATE) for name in self.arms}
        needed = len(variables.needed)
        everything = union([group for groups in known.values() for group in groups])
        centre = np.zeros(len(variables.covariate)) if everything is None else everything.mean[needed:]
        arms = {}
        for name, groups in known.items():
            whole = union([*groups, *(with_constant(group, needed, centre) for group in lacking[name])])
            if whole is None or whole.units < 2:
                raise _too_few(metric, name, 0 if whole is None else whole.units, self.arms[name].units)
            arms[name] = whole
        return arms

    def missing(self, at: int, status: int) -> int:
        """Return the number of units with a status of a metric."""
        return sum(row["units"] for row in self.rows if row["arm"] and row["complete"][at] == status)

    def _groups(self, at: int, arm: str, status: int) -> list[Moments]:
        return [
            from_triangle(row["units"], row[f"means_{at}"], row[f"covariances_{at}"])
            for row in self.rows
            if row["arm"] == arm and row["complete"][at] == status
        ]


def read(client: Client, config: ExperimentConfig, sql: str, parameters: Parameters) -> Cells:
    """Run the statement of cells.sql.

    Raises:
        DataError: there are no rows, an arm has no or only one unit, or units are in several arms and the config
            refuses them.
    """
    names, values = client.named_rows(sql, parameters, SETTINGS)
    rows = tuple(dict(zip(names, row, strict=True)) for row in values)
    crossed = sum(row["units"] for row in rows if row["crossed"])
    undeclared = sum(row["units"] for row in rows if not row["arm"] and not row["crossed"])
    arms = {arm.name: _units([row for row in rows if row["arm"] == arm.name]) for arm in config.arms}
    if crossed and config.crossovers == "refuse":
        raise DataError(
            "Units have rows of several arms",
            found=f"{crossed:,} units",
            allowed="none, by `crossovers: refuse`",
            next_step="correct the rows, select them by `where`, or set `crossovers: exclude`",
        )
    _require_arms(config, arms, crossed, undeclared)
    return Cells(rows, {name: units for name, units in arms.items() if units}, crossed, undeclared)


def _units(rows: Sequence[Mapping[str, Any]]) -> ArmUnits | None:
    if not rows:
        return None
    first, last = min(row["first_day"] for row in rows), max(row["last_day"] for row in rows)
    return ArmUnits(sum(row["units"] for row in rows), first, last)


def _require_arms(config: ExperimentConfig, arms: Mapping[str, ArmUnits | None], crossed: int, undeclared: int) -> None:
    if not crossed and not undeclared and not any(arms.values()):
        raise DataError(
            "The experiment has no units",
            found="no row that counts",
            next_step="check `where`, `arm` and the days of `exposure` against the table",
        )
    few = {name: 0 if units is None else units.units for name, units in arms.items()}
    counts = ", ".join(f"{name} {units:,}" for name, units in few.items())
    others = [f"{crossed:,} in several arms"] * bool(crossed) + [f"{undeclared:,} of other arms"] * bool(undeclared)
    for name, units in few.items():
        if units < 2:
            raise DataError(
                f"The arm {name} has {'no units' if units == 0 else 'one unit'}, so there is nothing to compare",
                found="; ".join([counts, *others]),
                allowed="at least two units per arm",
                next_step="check `arm` and `arms` in the config, and whether the arm was switched off",
            )


def _require_proportion(metric: Metric, at: int, rows: Sequence[Mapping[str, Any]]) -> None:
    wrong = sum(row[f"other_{at}"] for row in rows if row["arm"] and row["complete"][at] != MISSING)
    if metric.kind == "proportion" and wrong:
        raise DataError(
            f"{metric.name} is not a proportion",
            found=f"{wrong:,} units with values other than 0 and 1",
            allowed="0 or 1 per unit",
            next_step="set `kind: mean`, or write a condition such as orders > 0",
        )


def _too_few(metric: Metric, arm: str, units: int, of: int) -> DataError:
    return DataError(
        f"{metric.name} has {'no value' if units == 0 else 'one value'} in the arm {arm}",
        found=f"{units} of {of:,} units with a finite value; the others are NULL, NaN or infinite",
        allowed="at least two units with a value",
        next_step="check the metric's expression on a few rows, by `raypipe sql`",
    )
