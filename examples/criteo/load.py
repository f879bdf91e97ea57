"""Load a sample of Criteo's display ads, a CSV with 13 counts and 26 hashed categories, into the table ad_impressions.

python examples/criteo/load.py PATH [--url URL] [--replace]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from loading import Example  # noqa: E402 - it lies beside the examples' folders

# Each column of the file, in its order, with its name in the table and its type.
COLUMNS = {
    "Id": ("impression_id", pa.uint32()),
    "Label": ("click", pa.uint8()),
    **{f"I{at}": (f"i{at}", pa.float64()) for at in range(1, 14)},
    **{f"C{at}": (f"c{at}", pa.string()) for at in range(1, 27)},
}
EXAMPLE = Example(HERE, "ad_impressions", "the Criteo sample", COLUMNS)

if __name__ == "__main__":
    sys.exit(EXAMPLE.main())
