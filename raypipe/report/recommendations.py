"""Show recommendations: the titles that are recommended most, and the share of articles that reach anybody."""

from __future__ import annotations

from raypipe.pages import tables
from raypipe.pages.figures import decimal, share
from raypipe.pages.grids import bar
from raypipe.pages.markup import Markup
from raypipe.pages.page import section
from raypipe.pages.tables import Cell, Column
from raypipe.registry.record import Registered
from raypipe.report.source import Source
from raypipe.score.runs import Run

TARGET = "customer_recommendations"
VIEW = f"raypipe_current_{TARGET}"
TITLES = 15
# Older articles are not recommended by default (model.params.max_age_days).
DAYS = 14


# The figures of a fit, by metric.
FIGURES = {
    "precision": "precision",
    "ndcg": "NDCG",
    "coverage": "coverage",
    "diversity": "diversity",
    "age_days": "age in days",
}


def show(source: Source, latest: Run, timezone: str, champion: Registered | None) -> Markup:
    """Return the section of the newest night's recommendations; `timezone` is that of its date."""
    found = source.rows("coverage", VIEW, run_id=latest.run_id, date=latest.date, timezone=timezone, days=DAYS)
    counts = found[0] if found else None
    if counts is None or not counts["recommendations"]:
        return section("Recommendations", "No list is published for the newest night.", anchor="recommendations")
    reached = (
        f"{counts['articles']:,} different articles; {counts['recent']:,} were published in the last {DAYS} days"
        if counts["recent"]
        else f"{counts['articles']:,} different articles"
    )
    facts = tables.facts(
        [
            ("lists", f"{counts['lists']:,}"),
            ("articles per list", f"{counts['recommendations'] / counts['lists']:.1f}"),
            ("coverage", reached),
            ("popular rather than personal", share(counts["popular"], counts["recommendations"])),
        ]
    )
    titles = source.rows("titles", VIEW, run_id=latest.run_id, most=TITLES)
    most = max((row["lists"] for row in titles), default=0)
    listed = tables.table(
        "The articles in most lists",
        (
            "article",
            "category",
            Column("lists", True),
            Column("share of lists", True),
            "",
            Column("first in list", True),
        ),
        [
            (
                row["title"] or "an article without a title",
                row["category_name"] or "–",
                Cell(f"{row['lists']:,}", row["lists"]),
                share(row["lists"], counts["lists"]),
                bar(row["lists"], most),
                Cell(f"{row['first']:,}", row["first"]),
            )
            for row in titles
        ],
    )
    return section("Recommendations", facts, _judged(champion), listed, anchor="recommendations")


def _judged(champion: Registered | None) -> Markup | None:
    """Return the figures of the champion's fit beside its baselines."""
    evaluation = champion.evaluation if champion else {}
    test, baselines = evaluation.get("test") or {}, evaluation.get("baselines") or {}
    known = {title: metric for metric, title in FIGURES.items() if metric in test}
    if not known:
        return None
    rows = [
        (name, *(decimal((metrics.get(metric) or {}).get("value")) for metric in known.values()))
        for name, metrics in {"the model": test, **baselines}.items()
    ]
    columns: list[Column | str] = ["lists by", *(Column(title, True) for title in known)]
    return tables.table("Lists for readers whose next articles were held out at the fit", columns, rows)
