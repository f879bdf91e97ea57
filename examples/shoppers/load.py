"""Load UCI's online shoppers' purchasing intention, a CSV of 12,330 sessions, into the table shopper_sessions.

python examples/shoppers/load.py PATH [--url URL] [--replace]
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
    "Administrative": ("administrative_pages", pa.uint16()),
    "Administrative_Duration": ("administrative_seconds", pa.float64()),
    "Informational": ("informational_pages", pa.uint16()),
    "Informational_Duration": ("informational_seconds", pa.float64()),
    "ProductRelated": ("product_pages", pa.uint16()),
    "ProductRelated_Duration": ("product_seconds", pa.float64()),
    "BounceRates": ("bounce_rate", pa.float64()),
    "ExitRates": ("exit_rate", pa.float64()),
    "PageValues": ("page_value", pa.float64()),
    "SpecialDay": ("special_day", pa.float64()),
    "Month": ("month", pa.string()),
    "OperatingSystems": ("operating_system", pa.string()),
    "Browser": ("browser", pa.string()),
    "Region": ("region", pa.string()),
    "TrafficType": ("traffic_type", pa.string()),
    "returning_ visitor": ("returning_visitor", pa.uint8()),
    "weekend": ("weekend", pa.uint8()),
    "Revenue": ("revenue", pa.uint8()),
}
EXAMPLE = Example(HERE, "shopper_sessions", "the online shoppers", COLUMNS, key="session_id")

if __name__ == "__main__":
    sys.exit(EXAMPLE.main())
