"""Choose the settings of a blend by the rows and columns that it learns from.

The values were compared on 42 public tables of 150 to 17,379 rows, with repeated splits; see decision 0036.
"""

from collections.abc import Mapping
from typing import Any

# Rows up to which the parts are cross-validated; of more rows, the validation rows alone judge well.
FOLDED_ROWS = 20_000
FOLDS, MOST_FOLDS = 5, 20
# Penalties of the line, of which the rows held out choose one.
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
# A line gains little from more rows, and pays for each column.
LINE_ROWS = 100_000
LINE_COLUMNS = 500
# From here on trees may take larger steps, and a single forest is enough: the better on so many rows.
MANY_ROWS, MOST_ROWS, TRIED_ROWS = 10_000, 200_000, 100_000
MANY_COLUMNS = 200


# The space of a search; null leaves a setting to the rows and columns.
SPACE: Mapping[str, Mapping[str, list[Any]]] = {
    "model.params.max_depth": {"choice": [None, 2, 3, 4, 5, 7]},
    "model.params.eta": {"choice": [None, 0.02, 0.05, 0.1]},
    "model.params.min_child_weight": {"choice": [None, 1, 5, 20, 50]},
    "model.params.subsample": {"choice": [None, 0.5, 0.7, 1.0]},
    "model.params.colsample_bytree": {"choice": [None, 0.3, 0.6, 1.0]},
    "model.params.lambda": {"choice": [None, 0.1, 10.0, 100.0]},
    "model.params.line": {"choice": [None, False]},
}


def forests(rows: int, columns: int) -> list[dict[str, Any]]:
    """Return XGBoost's parameters of each forest: a shallow forest of smooth sums, and a deep forest.

    Args:
        rows: the rows to learn from.
        columns: the columns of the matrix.
    """
    common = {"tree_method": "hist", "eta": 0.05 if rows <= MANY_ROWS else 0.1, "subsample": 0.8}
    thin = 0.5 if columns > MANY_COLUMNS else 1.0
    shallow = {**common, "max_depth": 3, "min_child_weight": 5, "colsample_bytree": 0.6 * thin}
    deep = {**common, "max_depth": 6, "min_child_weight": 1, "colsample_bytree": 0.8 * thin}
    if rows <= MOST_ROWS:
        return [shallow, deep]
    return [{**forest, "max_depth": depth, "min_child_weight": 20} for forest, depth in ((shallow, 4), (deep, 8))]
