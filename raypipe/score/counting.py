"""Count a population and the aggregates of its checks, before anything is scored."""

from collections.abc import Mapping
from typing import Any

from raypipe.clickhouse.client import Client
from raypipe.clickhouse.server_errors import UNKNOWN_IDENTIFIER
from raypipe.data.slices import Slicing, sampled
from raypipe.errors import ServerError
from raypipe.score import gate
from raypipe.score.expectations import UNSEEN, Count
from raypipe.score.gate import Population

# Of a larger population, the rows with categories that the fit did not have are estimated from about so many: texts
# would be half of the cost of counting the population.
UNSEEN_ROWS = 500_000

# By check and column.
Counts = Mapping[tuple[str, str], Count]
Counted = dict[tuple[str, str], int]


def counted(
    client: Client, query: str, parameters: Mapping[str, Any], counts: Counts, slicing: Slicing, *, distinct: bool
) -> tuple[Population, Counted]:
    """Count a query's rows, and return the value of each aggregate.

    Args:
        query: yields the population's columns and `key_hash`, with its `{slice}`.
        slicing: of the query's base table.
        distinct: whether to count repeated keys, which takes time.
    """
    every = (slicing.rows or 0) // UNSEEN_ROWS if slicing.method == "index" else 0
    estimated = {name: item for name, item in counts.items() if every > 1 and name[0] == UNSEEN}
    exact = {name: item for name, item in counts.items() if name not in estimated}
    whole, values = _of(client, query, parameters, exact, distinct)
    if estimated:
        try:
            part, unseen = _of(client, sampled(query, every), parameters, estimated)
        except ServerError as error:
            if error.code != UNKNOWN_IDENTIFIER:
                raise
            # The query's {slice} stands at a subquery, which does not know the places of rows in their parts.
            part, unseen = _of(client, query, parameters, estimated)
        values |= {name: rows * whole.rows // max(1, part.rows) for name, rows in unseen.items()}
    return whole, values


def _of(
    client: Client, query: str, parameters: Mapping[str, Any], counts: Counts, distinct: bool = False
) -> tuple[Population, Counted]:
    aggregates = [item.sql for item in counts.values()]
    whole = gate.population(client, query, parameters, aggregates, distinct=distinct)
    columns = zip(*whole.counted, strict=True)
    return whole, {name: item.together(each) for (name, item), each in zip(counts.items(), columns, strict=True)}
