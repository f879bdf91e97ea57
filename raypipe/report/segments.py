"""Show segments: their profiles in words, and their sizes over nights."""

from __future__ import annotations

from datetime import date, timedelta

from raypipe.pages import charts, tables
from raypipe.pages.charts import Point, Series
from raypipe.pages.figures import decimal, percent, share
from raypipe.pages.grids import bar
from raypipe.pages.markup import Markup
from raypipe.pages.page import multiples, section
from raypipe.pages.tables import Cell, Column
from raypipe.report.source import Row, Source

TARGET = "customer_user_segment_assignments"
VIEW = f"raypipe_current_{TARGET}"
NIGHTS = 92
# Small multiples of more segments are no longer compared at a glance.
MOST = 12


def show(source: Source) -> Markup:
    """Return the section of the segments."""
    segments = source.rows("segments", "customer_user_segments")
    sizes = source.rows("segment_sizes", VIEW, first=source.last - timedelta(days=NIGHTS - 1))
    if not segments:
        return section("Segments", "No segment is published yet.", anchor="segments")
    total = sum(row["readers"] for row in segments)
    largest = max((row["readers"] for row in segments), default=0)
    profiles = tables.table(
        "Segments, the largest first",
        (
            "segment",
            Column("readers", True),
            Column("share", True),
            Column("", False),
            "profile",
            Column("engagement", True),
            Column("sessions", True),
            Column("newsletter", True),
        ),
        [
            (
                row["name"] or f"segment {row['cluster_number']}",
                Cell(f"{row['readers']:,}", row["readers"]),
                share(row["readers"], total or None),
                bar(row["readers"], largest),
                row["description"],
                decimal(row["engagement"], 1),
                decimal(row["sessions"], 1),
                share(row["newsletter"]),
            )
            for row in segments
            if row["readers"]
        ],
        empty="No segment has readers.",
        hidden=True,
    )
    drawn = [_over_nights(row, sizes) for row in segments[:MOST] if row["readers"]]
    about = (
        "Averages are per reader: engagement in points of 100, sessions in all, newsletter as the share of subscribers."
    )
    return section("Segments", profiles, multiples(*drawn), anchor="segments", about=about)


def _over_nights(segment: Row, sizes: list[Row]) -> Markup:
    days: dict[date, int] = {}
    for row in sizes:
        days[row["day"]] = days.get(row["day"], 0) + row["members"]
    own = {row["day"]: row["members"] for row in sizes if row["cluster_number"] == segment["cluster_number"]}
    # A night on which the segment had no reader is a zero; a night without a run is a gap.
    points = [Point(day, own.get(day, 0) / total) for day, total in days.items() if total]
    name = segment["name"] or f"segment {segment['cluster_number']}"
    return charts.lines(
        f"{name}: share of readers",
        [Series("share", points)],
        zero=True,
        shown=percent,
        reason="no night with assignments",
    )
