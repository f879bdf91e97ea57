"""Analyse an experiment over any table: arms, a policy on logged actions, or two versions of a model.

expressions checked → one statement of aggregates → sample ratio, metrics, decision → ml_model_ab_tests
"""

from datetime import date, datetime, timedelta

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import identifier, load
from raypipe.config.experiment import ExperimentConfig, Models
from raypipe.config.load import Loaded
from raypipe.config.load_experiment import LoadedExperiment
from raypipe.data.days import end_of_day, last_ended_day
from raypipe.errors import DataError, UsageError
from raypipe.experiment import cells, columns, models, policy, questions, records
from raypipe.experiment.analysis import analyse
from raypipe.experiment.models import ModelsResult
from raypipe.experiment.policy import PolicyResult
from raypipe.experiment.questions import Window
from raypipe.experiment.result import ExperimentResult
from raypipe.experiment.score import Score, older_score
from raypipe.progress import Progress
from raypipe.registry import ab_tests


def abtest(
    client: Client,
    loaded: LoadedExperiment,
    until: date | None,
    now: datetime,
    progress: Progress,
    *,
    save: bool = True,
) -> ExperimentResult | PolicyResult:
    """Analyse an experiment, and store the result.

    Args:
        until: the last day to count; None for the planned last day, or the last day that has ended.
        now: the present, with its zone.
        save: whether the result is written to ml_model_ab_tests.

    Raises:
        ConfigError: an expression does not fit the table.
        UsageError: the day is outside the exposure, or there is no table for the result.
        DataError: there are no units, an arm is empty, a metric has no values, or no score is old enough.
    """
    if save:
        ab_tests.require_table(client)
    window, source = window_of(loaded, until, now), source_of(client, loaded)
    if loaded.config.policy:
        value = policy.evaluate(client, loaded, loaded.config.policy, source, window, progress)
        rows = [records.policy_row(value, now)]
    else:
        result = compare_arms(client, loaded, source, window, progress)
        rows = records.rows_of(result, now)
    if save:
        ab_tests.write(client, rows)
    return value if loaded.config.policy else result


def compare_models(
    client: Client, loaded: LoadedExperiment, settings: Models, pipeline: Loaded, now: datetime, *, save: bool = True
) -> ModelsResult:
    """Compare two versions of a pipeline's model, and store the result; see `models.compare`."""
    if save:
        ab_tests.require_table(client)
    result = models.compare(client, loaded.name, loaded.config.description, settings, pipeline)
    if save:
        ab_tests.write(client, [records.models_row(result, now)])
    return result


def compare_arms(
    client: Client, loaded: LoadedExperiment, source: str, window: Window, progress: Progress
) -> ExperimentResult:
    """Compare the arms of an experiment; see `abtest`."""
    config = loaded.config
    score = _score(client, config, window)
    variables, bound = questions.variables_of(config), questions.parameters(config, window, score)
    progress("check the columns", 0, 2)
    time_type = _checked(client, config, source, bound)
    progress("add up", 1, 2)
    if config.rows == "one":
        _require_single_rows(client, config, questions.rows_sql(config, source, time_type, variables), bound)
    units = questions.units_sql(config, source, time_type, variables)
    found = cells.read(client, config, questions.cells_sql(config, units, variables, score), bound)
    return analyse(loaded.name, config, window, found, variables, score)


def window_of(loaded: LoadedExperiment, until: date | None, now: datetime) -> Window:
    """Return the days to count.

    Raises:
        UsageError: the last day is outside the exposure, or has not ended.
    """
    exposure, zone = loaded.config.exposure, loaded.shared.timezone
    if exposure is None:
        if until is not None:
            raise UsageError(
                f"{loaded.name} has no days to choose from",
                found=f"--until {until}",
                allowed="an experiment with a section exposure",
                next_step="leave --until out, or add exposure.time and exposure.since to the config",
            )
        return Window(None, None, zone)
    ended = last_ended_day(now, zone)
    last = min(exposure.until or ended, ended)
    day = last if until is None else until
    if not exposure.since <= day <= last:
        raise UsageError(
            f"{loaded.name} has no whole day to count" if until is None else "--until is outside the experiment",
            found=f"{day}",
            allowed=f"from {exposure.since} to {last}, the last day that has ended"
            if last >= exposure.since
            else f"{exposure.since} or later, once it has ended",
            next_step="wait for the end of the first day, or correct exposure.since",
        )
    return Window(exposure.since, day, zone)


def source_of(client: Client, loaded: LoadedExperiment, table: str | None = None) -> str:
    """Return what stands behind FROM: a table, else that of the config, else the SELECT of its file."""
    config = loaded.config
    if table or config.table:
        return identifier(table or config.table or "")
    return f"(\n{load(loaded.sql(config.sql or '')).text}\n)"


def _score(client: Client, config: ExperimentConfig, window: Window) -> Score | None:
    if config.score is None or window.since is None:
        return None
    begins = end_of_day(window.since - timedelta(days=1), window.timezone)
    return older_score(client, config.score, config.unit, begins)


def _checked(client: Client, config: ExperimentConfig, source: str, bound: Parameters) -> str:
    """Return the type of `exposure.time` after a check of every expression; '' without an exposure."""
    kinds = columns.types(client, source, questions.expressions(config), bound)
    for key, kind in kinds.items():
        if key.startswith("metrics."):
            columns.require_number(key, kind)
    if config.exposure is None:
        return ""
    columns.require_time("exposure.time", kinds["exposure.time"])
    return kinds["exposure.time"]


def _require_single_rows(client: Client, config: ExperimentConfig, rows: str, bound: Parameters) -> None:
    ((count, units),) = client.rows(questions.repeated_sql(config, rows), bound, questions.SETTINGS)
    if count > units:
        raise DataError(
            "The table has several rows per unit",
            found=f"{count:,} rows of {units:,} units, in a 64th of all units",
            allowed="one row per unit, by `rows: one`",
            next_step="set `rows: many`, or correct `unit`",
        )
