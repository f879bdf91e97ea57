"""Find a published score that the ledger proves older than an experiment's exposure.

A score from before the exposure cannot know the treatment, so that it may explain a part of the metric's variance. A
snapshot of an earlier date is no proof: it may have been scored later, by a model that was fitted on the outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import load
from raypipe.errors import ConfigError, DataError
from raypipe.project import shipped

# Columns of ml_model_predictions that a unit's columns may be called by.
KEYS = ("company_id", "brand_id")


@dataclass(frozen=True)
class Score:
    """The published scores of a run, as the covariate of an experiment.

    Attributes:
        columns: per column of the unit, the column of ml_model_predictions with the same values.
    """

    pipeline: str
    run_id: str
    date: date
    published_at: datetime
    columns: tuple[str, ...]

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of scores.sql."""
        return {"score_run": self.run_id, "score_pipeline": self.pipeline, "score_date": self.date}

    def join(self, keys: Sequence[str]) -> str:
        """Return the join of the units with their scores."""
        named = ", ".join(f"{column} AS {key}" for column, key in zip(self.columns, keys, strict=True))
        scores = load(shipped() / "sql" / "experiment" / "scores.sql").render(keys=named)
        on = " AND ".join(f"toString(raypipe_units.{key}) = raypipe_scores.{key}" for key in keys)
        return f"LEFT JOIN (\n{scores}\n) AS raypipe_scores ON {on}"

    def to_json(self) -> dict[str, Any]:
        """Return the run as JSON-ready values."""
        return {
            "pipeline": self.pipeline,
            "run_id": self.run_id,
            "date": self.date.isoformat(),
            "published_at": self.published_at.isoformat(),
        }


def older_score(client: Client, pipeline: str, unit: Sequence[str], exposed_from: datetime) -> Score:
    """Return the newest scores of a pipeline that were published before a moment.

    Args:
        unit: the columns of the experiment's unit.
        exposed_from: the beginning of the exposure.

    Raises:
        ConfigError: published scores have no such unit.
        DataError: the ledger shows no run that was published before the moment.
    """
    columns = _columns(unit)
    statement = load(shipped() / "sql" / "experiment" / "older_run.sql")
    runs = [
        (run, day, moment.replace(tzinfo=UTC))
        for run, day, moment in client.rows(statement.text, {"pipeline": pipeline})
    ]
    for run_id, day, published_at in runs:
        if published_at < exposed_from:
            return Score(pipeline, run_id, day, published_at, columns)
    newest = (
        f"the earliest was published at {min(run[2] for run in runs):%Y-%m-%d %H:%M} UTC"
        if runs
        else "no published run"
    )
    raise DataError(
        f"No published score of {pipeline} is older than the exposure",
        found=newest,
        allowed=f"a run that raypipe_runs shows as published before {exposed_from.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        next_step="take a pre_period, or another pipeline; scores that were published later may know the outcome",
    )


def _columns(unit: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of ml_model_predictions for the unit's columns."""
    others = [column for column in unit if column not in KEYS]
    if len(others) != 1:
        raise ConfigError(
            "The unit cannot be found among published scores",
            found=", ".join(unit),
            allowed="one column with the id of the scored entity, beside company_id and brand_id",
            next_step="correct `unit`, or leave `score` out",
        )
    return tuple(column if column in KEYS else "entity_id" for column in unit)
