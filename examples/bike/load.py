"""Load UCI's bike sharing hours, a CSV of 17,379 hours, into the table bike_hours.

python examples/bike/load.py PATH [--url URL] [--replace]
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
    "instant": ("hour_id", pa.uint32()),
    "season": ("season", pa.uint8()),
    "yr": ("year", pa.uint8()),
    "mnth": ("month", pa.uint8()),
    "hr": ("hour", pa.uint8()),
    "holiday": ("holiday", pa.uint8()),
    "weekday": ("weekday", pa.uint8()),
    "workingday": ("working_day", pa.uint8()),
    "weathersit": ("weather", pa.uint8()),
    "temp": ("temperature", pa.float64()),
    "atemp": ("felt_temperature", pa.float64()),
    "hum": ("humidity", pa.float64()),
    "windspeed": ("wind_speed", pa.float64()),
    "cnt": ("rentals", pa.uint16()),
}
EXAMPLE = Example(HERE, "bike_hours", "the bike sharing hours", COLUMNS)

if __name__ == "__main__":
    sys.exit(EXAMPLE.main())
