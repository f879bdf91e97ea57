"""Test the `expect` that a profile proposes: valid, and true of the table that was profiled."""

from __future__ import annotations

import yaml as reader

from raypipe.config.expect import Expect
from raypipe.explore.expectations import proposed, yaml
from raypipe.explore.facts import ColumnProfile, Newest, Sample, TableProfile, Value

COLUMNS = (
    ColumnProfile(
        "sessions", "UInt32", "number", nulls=0, sentinel="0", sentinels=100, low="0", high="240", distinct=90
    ),
    ColumnProfile("gap", "Nullable(Float32)", "number", nulls=500, sentinels=0, not_finite=0, low="-2.5", high="7"),
    ColumnProfile("never", "Nullable(UInt8)", "number", nulls=1000, sentinels=0),
    ColumnProfile("clicks", "UInt32", "number", nulls=0, sentinels=990, low="0", high="3"),
    ColumnProfile("active", "UInt8", "flag", nulls=0, sentinels=400, low="0", high="1"),
    ColumnProfile(
        "tier",
        "String",
        "text",
        nulls=0,
        sentinel="''",
        sentinels=10,
        distinct=3,
        values=(Value("free", 900), Value("it's", 90), Value("", 10)),
    ),
    ColumnProfile("id", "String", "text", nulls=0, sentinels=0, distinct=1000, values=(Value("a", 1),)),
    ColumnProfile("broken", "UInt32", "number", error="too slow"),
    ColumnProfile("since", "Date", "time", nulls=0, sentinels=0),
)
TABLE = TableProfile(
    "readers", "MergeTree", "", 1000, 1, 1, 1, None, "", ("id",), Sample("whole", 1000, 1.0, "every row"),
    Newest("since", "2026-01-31"), COLUMNS,
)  # fmt: skip


def test_a_proposal_has_room_and_leaves_out_what_says_nothing() -> None:
    columns = proposed(TABLE)["columns"]
    assert columns == {
        "sessions": {"missing": 0.05, "zeros": 0.15, "range": [0, 480], "outside": 0.01},
        "gap": {"missing": 0.75, "zeros": 0.05, "range": [-12, 16.5], "outside": 0.01},
        "clicks": {"missing": 0.05, "range": [0, 6], "outside": 0.01},
        "active": {"missing": 0.05, "range": [0, 1]},
        "tier": {"missing": 0.06, "allowed": ["free", "it's"], "outside": 0.01},
        "id": {"missing": 0.05},
    }


def test_the_yaml_is_the_proposal_and_the_config_accepts_it() -> None:
    document = reader.safe_load(yaml(TABLE))
    assert document["expect"] == proposed(TABLE)
    Expect.model_validate(document["expect"])
    empty = TableProfile("t", "Log", "", 0, 0, 0, 0, None, "", (), Sample("none", 0, None, "no rows"))
    assert (
        reader.safe_load(yaml(empty))["expect"]
        == proposed(empty)
        == {"volume": {"least": 0.5, "most": 2.0}, "columns": {}}
    )
