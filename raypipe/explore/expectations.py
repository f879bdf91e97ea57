"""Propose the `expect` of a pipeline from the profile of its table, loose enough for a usual night."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from raypipe.explore.facts import ColumnProfile, TableProfile
from raypipe.explore.kinds import FLAG, NUMBER, TEXT

# A share may grow by half, or by five percent of the rows.
LOOSER, LEAST = 1.5, 0.05
# A column with more zeros than this can lose the rest unnoticed.
MOST_ZEROS = 0.9
MOST_VALUES = 20

Columns = dict[str, dict[str, Any]]


def proposed(table: TableProfile) -> dict[str, Any]:
    """Return the value of `expect`: the newest snapshot's age, the usual volume, and conditions by column."""
    columns = {column.column: _conditions(column, table.sample.rows) for column in table.columns}
    known: Columns = {name: conditions for name, conditions in columns.items() if conditions}
    freshness = {"freshness": {"snapshot_days": 2}} if table.newest else {}
    return {**freshness, "volume": {"least": 0.5, "most": 2.0}, "columns": known}


def yaml(table: TableProfile) -> str:
    """Return the proposal as YAML to paste into a pipeline's config."""
    expect = proposed(table)
    columns = expect.pop("columns")
    lines = [
        f"# Proposed by `raypipe explore --expect` from {table.sample.rows} rows of {table.table}.",
        "# Keep what has to hold; the names are those of the table, and have to be columns of features.sql.",
        "expect:",
        *(f"  {name}: {_flow(value)}" for name, value in expect.items()),
        "  columns:" if columns else "  columns: {}",
        *(f"    {name}: {_flow(value)}" for name, value in columns.items()),
    ]
    return "\n".join(lines)


def _flow(value: Mapping[str, Any]) -> str:
    parts = (f"{name}: {json.dumps(item, ensure_ascii=False)}" for name, item in value.items())
    return "{" + ", ".join(parts) + "}"


def _conditions(column: ColumnProfile, rows: int) -> dict[str, Any]:
    """Return the conditions of a column; empty if its figures are missing or say nothing."""
    if rows == 0 or column.error or column.nulls is None or column.kind not in (NUMBER, FLAG, TEXT):
        return {}
    absent = column.nulls + (column.not_finite or 0)
    if column.kind == TEXT:
        absent += column.sentinels or 0
    if absent == rows:
        return {}
    found: dict[str, Any] = {"missing": _looser(absent / rows)}
    if column.kind == TEXT:
        return {**found, **_words(column, rows - absent)}
    zeros = (column.sentinels or 0) / max(rows - absent, 1)
    if column.kind == NUMBER and zeros < MOST_ZEROS:
        found["zeros"] = _looser(zeros)
    return {**found, **_range(column)}


def _words(column: ColumnProfile, known: int) -> dict[str, Any]:
    """Return the values of a text that has few of them, all of which the profile lists."""
    words = [item.value for item in column.values if item.value]
    listed = sum(item.rows for item in column.values if item.value)
    return {"allowed": sorted(words), "outside": 0.01} if 0 < len(words) <= MOST_VALUES and listed >= known else {}


def _range(column: ColumnProfile) -> dict[str, Any]:
    try:
        low, high = float(column.low or ""), float(column.high or "")
    except ValueError:
        return {}
    if column.kind == FLAG:
        return {"range": [0, 1]}
    room = max(high - low, abs(high), 1.0)
    least = 0.0 if low >= 0 else low - room
    return {"range": [_short(least), _short(high + room)], "outside": 0.01}


def _looser(share: float) -> float:
    return min(1.0, round(max(share * LOOSER, share + LEAST), 2))


def _short(number: float) -> float | int:
    text = float(f"{number:.3g}")
    return int(text) if text.is_integer() else text
