"""Give the rows of a direct run the shape of its targets: publish statements read the rows of a request."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from raypipe.clickhouse import twins
from raypipe.clickhouse.client import Client
from raypipe.clickhouse.statements import Statement, identifier, literal
from raypipe.clickhouse.tables import Table
from raypipe.errors import GateRefused, ServerError
from raypipe.score import portions, publish_sql
from raypipe.score.chunks import Insert
from raypipe.score.manifest import Manifest, PublishTarget

# As in filling a twin, the server merges no rows on their way in.
FILLING = {"optimize_on_insert": 0}
OUTSIDE = "outside the range of their kind"


@dataclass(frozen=True)
class Shape:
    """The way of a run's rows into the shape of a target.

    Attributes:
        columns: the columns that the publish statement yields.
        sql: the publish statement, which reads the rows of a request.
    """

    manifest: Manifest
    target: PublishTarget
    table: Table
    columns: tuple[str, ...]
    sql: str

    def portion(self, client: Client, piece: int, attempt: int) -> Insert:
        """Return the insert into the portion of an attempt at a slice, which creates the table before its first rows.

        It takes narrow rows, as staging would get them.
        """
        name = portions.named(self.manifest, self.target, piece, attempt)
        sql = twins.filling(name, self.columns, self.sql)
        is_new = True

        def insert(rows: pa.Table, token: str) -> None:
            nonlocal is_new
            if is_new:
                portions.create(client, self.manifest, self.target, self.table, name)
                is_new = False
            types = self.manifest.staged_types
            with _refused(self.manifest):
                client.insert_through(sql, _values(self.manifest), rows, types, token=token, settings=FILLING)

        return insert


def shapes(client: Client, manifest: Manifest) -> tuple[Shape, ...]:
    """Return the shapes of a direct run's targets, in their order; none of another run."""
    return tuple(_shape(client, manifest, target) for target in manifest.targets) if manifest.direct else ()


def _shape(client: Client, manifest: Manifest, target: PublishTarget) -> Shape:
    table = twins.require_swappable(client, target.table)
    statement = Statement(target.sql, source=f"the publish statement of {target.table}")
    fragments = {**publish_sql.fragments(manifest), **publish_sql.stand_ins(manifest)}
    columns = publish_sql.columns(client, statement.render(**fragments), _values(manifest), table)
    sql = statement.render(**{**fragments, "staging": _request(manifest)})
    return Shape(manifest, target, table, tuple(columns), sql)


def _values(manifest: Manifest) -> dict[str, Any]:
    low, high = manifest.score_range or (0.0, 0.0)
    return {**publish_sql.bound(manifest, ()), "lowest_score": low, "highest_score": high}


@contextmanager
def _refused(manifest: Manifest) -> Iterator[None]:
    """Turn the server's error for a score that its worker should have rejected into the gate's."""
    try:
        yield
    except ServerError as error:
        if OUTSIDE not in str(error.found):
            raise
        low, high = manifest.score_range or (-math.inf, math.inf)
        raise GateRefused(
            f"Run {manifest.run_id} was not published: scores are {OUTSIDE}",
            found=error.found,
            allowed=f"{low:g} to {high:g}",
            next_step=f"score again; `raypipe fit {manifest.pipeline}` if the model itself gives such scores",
        ) from error


def _request(manifest: Manifest) -> str:
    """Return the subquery of the rows of a request; a score that its worker should have rejected is an error."""
    columns = ", ".join(f"{identifier(name)} {kind}" for name, kind in manifest.staged_types.items())
    if manifest.score_range is None:
        inside = "isFinite(score)"
    else:
        # In the precision of the score, as in the worker. A NaN compares as false with anything.
        inside = "score >= toFloat32({lowest_score:Float64}) AND score <= toFloat32({highest_score:Float64})"
    return f"(SELECT * FROM input({literal(columns)}) WHERE NOT throwIf(NOT ({inside}), {literal(OUTSIDE)}))"
