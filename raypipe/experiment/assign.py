"""Assign the units of a table to arms, and log each unit's exposure once.

units of the config's table → arm by the salt → raypipe_exposures, for units that it lacks
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, load
from raypipe.config.experiment import ExperimentConfig
from raypipe.config.load_experiment import LoadedExperiment
from raypipe.errors import DataError, UsageError
from raypipe.experiment import columns, inference, questions
from raypipe.experiment.assignment import arm_of, arm_sql
from raypipe.experiment.columns import expression
from raypipe.progress import Progress
from raypipe.project import shipped

TABLE = "raypipe_exposures"


@dataclass(frozen=True)
class Assigned:
    """The exposed units of an experiment.

    Attributes:
        added: the units that were logged now.
        units: all exposed units by arm.
        sample_ratio: the p-value of the arms' sizes.
    """

    experiment: str
    salt: str
    shares: Mapping[str, float]
    added: int
    units: Mapping[str, int]
    sample_ratio: float

    def to_json(self) -> dict[str, Any]:
        """Return the assignment as JSON-ready values."""
        return asdict(self)


def assign(client: Client, loaded: LoadedExperiment, source: str, now: datetime, progress: Progress) -> Assigned:
    """Log the units that have no exposure yet, in one INSERT … SELECT.

    Args:
        source: what stands behind FROM.
        now: the time of the exposures, with its zone.

    Raises:
        UsageError: the config has no salt, or units were exposed under another salt or other shares.
        ConfigError: an expression does not fit the table.
        DataError: there are no units.
    """
    config, salt = loaded.config, salt_of(loaded)
    exposures = identifier(TABLE)
    shares = {arm.name: arm.share for arm in config.arms}
    stated = json.dumps(shares)
    before = _exposed(client, loaded.name, exposures)
    _require_same(loaded.name, before, salt, stated)
    columns.types(client, source, _expressions(config), {})
    keys = [expression(column) for column in config.unit]
    filled = " AND ".join(f"isNotNull({key})" for key in keys)
    sql = _statement("assign").render(
        unit=f"[{', '.join(f'toString({key})' for key in keys)}]",
        arm=arm_sql(keys, salt, config.arms),
        exposures=exposures,
        source=source,
        where=f"{filled} AND {expression(config.where)}" if config.where else filled,
    )
    bound = {"experiment": loaded.name, "salt": salt, "shares": stated, "exposed_at": now}
    progress("assign", 0, 1)
    client.run(
        f"INSERT INTO {TABLE} (experiment, unit, arm, salt, shares, exposed_at)\n{sql}", bound, questions.SETTINGS
    )
    after = _exposed(client, loaded.name, exposures)
    units = {arm.name: sum(row[3] for row in after if row[0] == arm.name) for arm in config.arms}
    if not sum(units.values()):
        raise DataError("There is no unit to assign", found="no row", next_step="check `table`, `where` and `unit`")
    added = sum(units.values()) - sum(row[3] for row in before)
    counts, planned = list(units.values()), list(shares.values())
    return Assigned(loaded.name, salt, shares, added, units, inference.sample_ratio(counts, planned, every_look=False))


def arm_for(loaded: LoadedExperiment, key: Sequence[str]) -> str:
    """Return the arm of a key, without ClickHouse.

    Raises:
        UsageError: the config has no salt, or its unit has another number of columns.
    """
    unit = loaded.config.unit
    if len(key) != len(unit):
        raise UsageError(
            f"A unit of {loaded.name} is named by {', '.join(unit)}",
            found=f"--key for {len(key)} values",
            allowed=f"--key for {len(unit)}, in this order",
            next_step="repeat --key once per column",
        )
    return arm_of(key, salt_of(loaded), loaded.config.arms)


def expression_for(loaded: LoadedExperiment) -> str:
    """Return the SQL expression of a unit's arm, over the unit's columns."""
    keys = [expression(column) for column in loaded.config.unit]
    return arm_sql(keys, salt_of(loaded), loaded.config.arms)


def salt_of(loaded: LoadedExperiment) -> str:
    """Return the salt of an experiment.

    Raises:
        UsageError: the config has none.
    """
    if loaded.config.salt is None:
        raise UsageError(
            f"{loaded.name} takes the arm from a column, so that there is nothing to assign",
            found="a config without salt",
            allowed="a config with a salt, such as headline-2026-01",
            next_step="replace `arm` by `salt` in the config",
        )
    return loaded.config.salt


_Row = tuple[str, str, str, int]


def _exposed(client: Client, experiment: str, exposures: str) -> list[_Row]:
    sql = _statement("exposed").render(exposures=exposures)
    return [(row[0], row[1], row[2], row[3]) for row in client.rows(sql, {"experiment": experiment})]


def _require_same(experiment: str, rows: Sequence[_Row], salt: str, shares: str) -> None:
    """Refuse another salt or other shares, which would move units to other arms."""
    others = sorted({(row[1], row[2]) for row in rows} - {(salt, shares)})
    if others:
        raise UsageError(
            f"{experiment} has exposed units under another salt or other shares",
            found="; ".join(f"salt {one} with {other}" for one, other in others),
            allowed=f"salt {salt} with {shares}",
            next_step="restore them, or give the changed experiment a name of its own",
        )


def _expressions(config: ExperimentConfig) -> dict[str, str]:
    known = questions.expressions(config)
    return {key: sql for key, sql in known.items() if key.startswith(("unit.", "where"))}


def _statement(name: str) -> Statement:
    return load(shipped() / "sql" / "experiment" / f"{name}.sql")
