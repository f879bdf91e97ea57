"""Hold back the rows of a slice with the highest scores: they are explained before they get their target's shape."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Highest:
    """The rows with the highest scores so far; of equal scores, the rows with the lower keys.

    Args:
        count: the number of rows to hold.
        keys: the columns of the entity's key.
    """

    def __init__(self, count: int, keys: tuple[str, ...]) -> None:
        self._count = count
        self._keys = keys
        self.rows: pa.Table | None = None

    def exchange(self, rows: pa.Table) -> pa.Table:
        """Hold those of the rows that belong to the highest, and return the other rows and those that they displace."""
        if not self._count:
            return rows
        others = rows.slice(0, 0)
        if self.rows is not None and self.rows.num_rows == self._count:
            high = pc.greater_equal(rows.column("score"), pc.min(self.rows.column("score")))
            others, rows = rows.filter(pc.invert(high)), rows.filter(high)
        known = rows if self.rows is None else pa.concat_tables([self.rows, rows])
        held = np.zeros(known.num_rows, dtype=bool)
        held[self._best(known)] = True
        self.rows = known.filter(pa.array(held))
        return pa.concat_tables([others, known.filter(pa.array(~held))])

    def _best(self, rows: pa.Table) -> pa.Array:
        order = [("score", "descending"), *((name, "ascending") for name in self._keys if _orders(rows, name))]
        return pc.select_k_unstable(rows, self._count, order)


def _orders(rows: pa.Table, name: str) -> bool:
    kind = rows.schema.field(name).type
    return any(is_kind(kind) for is_kind in (pa.types.is_primitive, pa.types.is_string, pa.types.is_binary))
