"""Fill the daily performance of authors and categories from the performance of their articles."""

from raypipe.clickhouse.client import Client

_PERFORMANCE = """
INSERT INTO editorial_{kind}_performance ({kind}_id, brand_id, performance_date, total_views, avg_engagement_score)
SELECT about.{column}, p.brand_id, p.performance_date, sum(p.total_views) AS views,
    sum(p.engagement_score * p.total_views) / views
FROM editorial_article_performance AS p
INNER JOIN (SELECT article_id, {column} FROM editorial_articles FINAL) AS about ON about.article_id = p.article_id
GROUP BY 1, 2, 3
HAVING views > 0
"""


def fill_performance(client: Client) -> None:
    """Replace the rows of both tables."""
    for kind in ("author", "category"):
        client.run(f"TRUNCATE TABLE editorial_{kind}_performance")
        client.run(_PERFORMANCE.format(kind=kind, column=f"primary_{kind}_id"))
