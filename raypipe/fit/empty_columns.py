"""Name the features without a value in the training rows, with the days, and the command that fills them."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import date

from raypipe.artifact.contract import MATRIX, Contract
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import identifier
from raypipe.fit.recipe import Recipe
from raypipe.fit.training_table import TrainingTable

# Its snapshots are what `raypipe features` computes.
SNAPSHOTS = "customer_user_features"

Days = tuple[date, ...]


def notes(client: Client, recipe: Recipe, table: TrainingTable) -> tuple[str, ...]:
    """Return a sentence per set of training days on which features have no value at all."""
    sql = (
        f"SELECT date, count(), sumForEach(arrayMap(value -> isNaN(value), {MATRIX})) FROM {identifier(table.name)}"
        " WHERE part = 'train' GROUP BY date ORDER BY date"
    )
    rows: dict[date, int] = {}
    missing: dict[date, list[int]] = {}
    for day, count, gaps in client.rows(sql):
        rows[day], missing[day] = int(count), [int(gap) for gap in gaps]
    return tuple(_sentences(recipe, table.contract, rows, missing))


def _sentences(
    recipe: Recipe, contract: Contract, rows: Mapping[date, int], missing: Mapping[date, list[int]]
) -> Iterator[str]:
    empty: dict[Days, list[str]] = defaultdict(list)
    at = 0
    for feature in contract.features:
        places = slice(at, at + len(feature.columns))
        at = places.stop
        days = tuple(day for day, gaps in missing.items() if all(gap == rows[day] for gap in gaps[places]))
        if days:
            empty[days].append(feature.name)
    for days, names in empty.items():
        effect = "are left out" if len(days) == len(rows) else "are unknown to the model there"
        yield (
            f"features without any value in {sum(rows[day] for day in days):,} of {sum(rows.values()):,} training rows,"
            f" of {', '.join(map(str, days))}, {effect}: {', '.join(names)}; {_next_step(recipe, days)}"
        )


def _next_step(recipe: Recipe, days: Days) -> str:
    if SNAPSHOTS not in recipe.features_sql.text:
        return "fit again once they are filled"
    count = (days[-1] - days[0]).days + 1
    return f"fill them with `raypipe features --date {days[-1]} --backfill {count}`, and fit again"
