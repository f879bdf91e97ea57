"""Define `raypipe assign`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from raypipe.cli import output
from raypipe.cli.options import Experiment, Options, command, endpoint_of
from raypipe.clickhouse.client import Client
from raypipe.config.load_experiment import LoadedExperiment, load_experiment

if TYPE_CHECKING:
    from raypipe.experiment.assign import Assigned


@command()
def assign(
    options: Options,
    name: Experiment,
    key: list[str] | None = typer.Option(
        None, "--key", metavar="VALUE", help="Show the arm of this unit and log nothing; once per column of the unit."
    ),
    sql: bool = typer.Option(False, "--sql", help="Print the SQL expression of a unit's arm and log nothing."),
) -> None:
    """Assign units to the arms of an experiment; log each exposure.

    The arm follows from the salt and the unit's key alone, by SHA-256: the same in Python, in SQL and in any other
    language, today and tomorrow. Units of the config's table that are new get a row in raypipe_exposures, with arm,
    salt and time. Rows are only added; a changed salt or changed shares are refused once units are exposed.

    Example: raypipe assign headline --key u17
    """
    loaded = load_experiment(name, options.config, options.url)
    if key or sql:
        _without_clickhouse(options, loaded, key or [], sql=sql)
        return
    with (
        endpoint_of(loaded.shared.connection) as endpoint,
        Client(endpoint) as client,
        output.progress() as progress,
    ):
        from raypipe.experiment.abtest import source_of
        from raypipe.experiment.assign import assign as assigned

        source = source_of(client, loaded, loaded.config.population)
        result = assigned(client, loaded, source, datetime.now(UTC), progress)
    options.show(result.to_json(), _print, result)


def _without_clickhouse(options: Options, loaded: LoadedExperiment, key: list[str], *, sql: bool) -> None:
    from raypipe.experiment.assign import arm_for, expression_for

    answer: dict[str, object] = {"experiment": loaded.name}
    answer |= {"sql": expression_for(loaded)} if sql else {}
    answer |= {"key": key, "arm": arm_for(loaded, key)} if key else {}
    options.show(answer, output.say, "\n".join(str(answer[name]) for name in ("sql", "arm") if name in answer))


def _print(result: Assigned) -> None:
    total = sum(result.units.values())
    rows = [(arm, units, units / total, result.shares[arm]) for arm, units in result.units.items()]
    output.table(("arm", "units", "share", "planned"), rows, f"{result.experiment}, salt {result.salt}")
    output.say(f"{result.added:,} units added; sample ratio: p = {result.sample_ratio:.4f}")
