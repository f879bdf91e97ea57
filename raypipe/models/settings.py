"""Choose the settings of boosted trees by the rows and columns that they learn from."""

from typing import Any

# Rows up to which several forests and a line are cross-validated; more rows judge well in a single part.
FOLDED_ROWS = 20_000
FOLDS, MOST_FOLDS = 5, 20
# Penalties of the line, of which the held-out rows choose one.
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
# The line gains nothing from more rows, and pays for more columns than this.
LINE_ROWS = 100_000
LINE_COLUMNS = 500


def forests(rows: int, columns: int) -> list[dict[str, Any]]:
    """Return XGBoost's parameters of each forest of a blend.

    Args:
        rows: the rows to learn from.
        columns: the columns of the matrix.
    """
    common = {
        "tree_method": "hist",
        "eta": 0.05 if rows <= 200_000 else 0.1,
        "subsample": 0.8,
        "colsample_bytree": 0.6 if columns < 200 else 0.3,
        "min_child_weight": 5,
    }
    return [{**common, "max_depth": depth} for depth in (3, 6)]
