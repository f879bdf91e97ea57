"""Load UCI's wholesale customers, a CSV of 440 customers, into the table wholesale_customers.

python examples/wholesale/load.py PATH [--url URL] [--replace]
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
    "Channel": ("channel", pa.uint8()),
    "Region": ("region", pa.uint8()),
    "Fresh": ("fresh", pa.float64()),
    "Milk": ("milk", pa.float64()),
    "Grocery": ("grocery", pa.float64()),
    "Frozen": ("frozen", pa.float64()),
    "Detergents_Paper": ("detergents_paper", pa.float64()),
    "Delicassen": ("delicatessen", pa.float64()),
}
EXAMPLE = Example(HERE, "wholesale_customers", "the wholesale customers", COLUMNS, key="customer_id")

if __name__ == "__main__":
    sys.exit(EXAMPLE.main())
