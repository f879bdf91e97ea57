"""Write the one statement that adds up an experiment: rows → units → moments per arm, inside ClickHouse.

A unit with several rows is joined to one row first, because the rows of a unit depend on one another and the unit was
randomised. Everything after this statement is a few numbers per arm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import combinations_with_replacement

from raypipe.clickhouse.parameters import Parameters
from raypipe.clickhouse.statements import Statement, load
from raypipe.config.experiment import ExperimentConfig, Metric
from raypipe.experiment.assignment import arm_sql
from raypipe.experiment.columns import expression
from raypipe.experiment.score import Score
from raypipe.project import shipped

SETTINGS = {"join_algorithm": "grace_hash", "max_bytes_before_external_group_by": 2 << 30}
# Types of days, which have no time zone.
DATES = ("Date", "Date32")
BY_SALT = "'by the salt'"
# The column that the join with published scores adds.
SCORE = "raypipe_score"


@dataclass(frozen=True)
class Window:
    """The days of an experiment, both included; None without an exposure."""

    since: date | None
    until: date | None
    timezone: str


@dataclass(frozen=True)
class Variables:
    """The numbers of a unit that a metric needs, as SQL over the unit's rows.

    Attributes:
        needed: the value, or numerator and denominator.
        covariate: a number, or numerator and denominator; empty without a covariate.
        by_row: the SQL of each number that a row contributes, by its name in rows.sql.
    """

    needed: Mapping[str, str]
    covariate: Mapping[str, str]
    by_row: Mapping[str, str] = field(default_factory=dict)


def expressions(config: ExperimentConfig) -> dict[str, str]:
    """Return every expression of the config in SQL, by its key; numbers and times begin with their section."""
    known = {f"unit.{at}": expression(column) for at, column in enumerate(config.unit)}
    known |= {name: expression(text) for name in ("where", "arm") if (text := getattr(config, name)) is not None}
    if config.exposure:
        known["exposure.time"] = expression(config.exposure.time)
    for metric in config.metrics:
        for name in ("value", "numerator", "denominator", "covariate"):
            text = getattr(metric, name)
            if text is not None:
                known[f"metrics.{metric.name}.{name}"] = expression(text)
    return known


def parameters(config: ExperimentConfig, window: Window, score: Score | None) -> Parameters:
    """Return the values that the statement binds."""
    bound: dict[str, object] = {"arms": [arm.name for arm in config.arms], "timezone": window.timezone}
    if window.since and window.until:
        bound |= {"since": window.since, "until": window.until + timedelta(days=1)}
    if config.pre_period:
        before = config.pre_period
        bound |= {"before_since": before.since, "before_until": before.until + timedelta(days=1)}
    return bound | (score.parameters if score else {})


def units_sql(config: ExperimentConfig, source: str, time_type: str, variables: Mapping[str, Variables]) -> str:
    """Return the SELECT of one row per unit.

    Args:
        time_type: the type of `exposure.time`; '' without an exposure.
        variables: by metric, from `variables_of`.
    """
    keys = unit_keys(config)
    arm = arm_sql(keys, config.salt, config.arms) if config.salt else ""
    shown = "raypipe_inside AND raypipe_arm != ''"
    joined = {name: sql for item in variables.values() for name, sql in {**item.needed, **item.covariate}.items()}
    several = config.rows == "many"
    return _statement("units" if several else "single_units").render(
        keys=", ".join(keys),
        rows=rows_sql(config, source, time_type, variables),
        first=arm or (f"minIf(raypipe_arm, {shown})" if several else "raypipe_arm"),
        last=arm or (f"maxIf(raypipe_arm, {shown})" if several else "raypipe_arm"),
        values=",\n    ".join(f"{sql} AS {name}" for name, sql in joined.items() if name != SCORE),
    )


def rows_sql(config: ExperimentConfig, source: str, time_type: str, variables: Mapping[str, Variables]) -> str:
    """Return the SELECT of the rows that count."""
    time = expression(config.exposure.time) if config.exposure else ""
    zone = "" if time_type in DATES else ", {timezone:String}"
    filled = " AND ".join(f"isNotNull({expression(column)})" for column in config.unit)
    values = {name: sql for item in variables.values() for name, sql in item.by_row.items()}
    return _statement("rows").render(
        keys=", ".join(
            f"{expression(column)} AS {key}" for column, key in zip(config.unit, unit_keys(config), strict=True)
        ),
        arm=f"ifNull(toString({expression(config.arm)}), '')" if config.arm else BY_SALT,
        day=f"toDate({time}{zone})" if time else "toDate(0)",
        inside=inside(config, time_type),
        earlier=_within(time, time_type, "before_since", "before_until") if config.pre_period else "0",
        values=",\n    ".join(f"toFloat64({sql}) AS {name}" for name, sql in values.items()),
        source=source,
        where=f"{filled} AND {expression(config.where)}" if config.where else filled,
    )


def inside(config: ExperimentConfig, time_type: str) -> str:
    """Return the condition that a row lies in the exposure's days."""
    if config.exposure is None:
        return "1"
    return _within(expression(config.exposure.time), time_type, "since", "until")


def unit_keys(config: ExperimentConfig) -> list[str]:
    """Return the names of the unit's columns in the statement."""
    return [f"raypipe_key_{at}" for at in range(len(config.unit))]


def variables_of(config: ExperimentConfig) -> dict[str, Variables]:
    """Return the numbers of a unit that each metric needs, by the metric's name."""
    return {metric.name: _variables(config, at, metric) for at, metric in enumerate(config.metrics)}


def cells_sql(config: ExperimentConfig, units: str, variables: Mapping[str, Variables], score: Score | None) -> str:
    """Return the statement of the moments per arm and per pattern of missing values."""
    complete, moments = [], []
    for at, metric in enumerate(config.metrics):
        item = variables[metric.name]
        complete.append(_completeness(item))
        names = [f"ifNull({name}, 0)" for name in (*item.needed, *item.covariate)]
        pairs = combinations_with_replacement(names, 2)
        moments += [
            f"[{', '.join(f'avg({name})' for name in names)}] AS means_{at}",
            f"[{', '.join(f'covarPopStable({one}, {other})' for one, other in pairs)}] AS covariances_{at}",
            f"countIf({names[0]} NOT IN (0, 1)) AS other_{at}",
        ]
    return _statement("cells").render(
        units=units,
        join=score.join(unit_keys(config)) if score else "",
        complete=f"[{', '.join(complete)}]",
        moments=",\n    ".join(moments),
    )


def repeated_sql(config: ExperimentConfig, rows: str) -> str:
    """Return the statement that looks for units with several rows."""
    return _statement("repeated_units").render(rows=rows, keys=", ".join(unit_keys(config)))


def _variables(config: ExperimentConfig, at: int, metric: Metric) -> Variables:
    texts = [text for text in (metric.value, metric.numerator, metric.denominator) if text is not None]
    by_row = {f"raypipe_row_{at}_{part}": expression(text) for part, text in enumerate(texts)}
    needed = {
        f"raypipe_unit_{at}_{part}": _joined(config, metric.joined_by, name, "raypipe_inside")
        for part, name in enumerate(by_row)
    }
    if metric.covariate is not None:
        name = f"raypipe_row_{at}_covariate"
        covariate = {f"raypipe_unit_{at}_covariate": _joined(config, "avg", name, "raypipe_inside")}
        return Variables(needed, covariate, {**by_row, name: expression(metric.covariate)})
    if config.pre_period:
        # A unit without earlier rows has done nothing then, which is a value.
        before = [_joined(config, metric.joined_by, name, "NOT raypipe_inside") for name in by_row]
        named = {f"raypipe_unit_{at}_before_{part}": f"ifNull({sql}, 0)" for part, sql in enumerate(before)}
        return Variables(needed, named, by_row)
    return Variables(needed, {SCORE: ""} if config.score else {}, by_row)


def _joined(config: ExperimentConfig, function: str, name: str, condition: str) -> str:
    if config.rows == "one":
        return f"isFinite({name}) ? {name} : NULL"
    return f"{function}OrNullIf({name}, {condition} AND isFinite({name}))"


def _completeness(item: Variables) -> str:
    has = " AND ".join(f"isNotNull({name})" for name in item.needed)
    known = " AND ".join(f"isNotNull({name})" for name in item.covariate)
    return f"{has} ? ({known} ? 2 : 1) : 0" if known else f"{has} ? 2 : 0"


def _within(time: str, time_type: str, since: str, until: str) -> str:
    # Plain comparisons of a column, so that ClickHouse reads only the days that count.
    if time_type in DATES:
        return f"({time} >= {{{since}:Date}} AND {time} < {{{until}:Date}})"
    bounds = [f"toDateTime({{{name}:Date}}, {{timezone:String}})" for name in (since, until)]
    return f"({time} >= {bounds[0]} AND {time} < {bounds[1]})"


def _statement(name: str) -> Statement:
    return load(shipped() / "sql" / "experiment" / f"{name}.sql")
