"""Load the Deskdrop sample, a CSV of 72,312 events of an intranet, into the table deskdrop_interactions.

python examples/deskdrop/load.py PATH [--url URL] [--replace]
"""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from loading import Example  # noqa: E402 - it lies beside the examples' folders

# The columns of the file that the example reads, with their names in the table and their types.
COLUMNS = {
    "personId": ("reader_id", pa.string()),
    "contentId": ("article_id", pa.string()),
    "eventType": ("event_type", pa.string()),
    "timestamp": ("at", pa.int64()),
}
EXAMPLE = Example(HERE, "deskdrop_interactions", "the Deskdrop sample", COLUMNS)

if __name__ == "__main__":
    sys.exit(EXAMPLE.main())
