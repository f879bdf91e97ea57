"""Write scikit-learn's copy of UCI's wine data, 178 wines of three cultivars, into the table wines.

python examples/wine/load.py [--url URL] [--replace]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
from sklearn.datasets import load_wine

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from loading import Example  # noqa: E402 - it lies beside the examples' folders

CULTIVARS = ("barolo", "grignolino", "barbera")
# The one name that is no identifier.
RENAMED = {"od280/od315_of_diluted_wines": "od280_od315"}


def wines() -> pa.Table:
    """Return a row per wine: 13 measurements and the name of its cultivar."""
    data = load_wine()
    columns = {RENAMED.get(name, name): values for name, values in zip(data.feature_names, data.data.T, strict=True)}
    return pa.table({**columns, "cultivar": [CULTIVARS[number] for number in data.target]})


EXAMPLE = Example(HERE, "wines", "scikit-learn's wines", key="wine_id", made=wines)

if __name__ == "__main__":
    sys.exit(EXAMPLE.main())
