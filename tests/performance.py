"""Fill the daily performance of categories from the performance of their articles."""

from raypipe.clickhouse.client import Client

_PERFORMANCE = """
INSERT INTO editorial_category_performance (category_id, brand_id, performance_date, total_views, avg_engagement_score)
SELECT about.primary_category_id, p.brand_id, p.performance_date, sum(p.total_views) AS views,
    sum(p.engagement_score * p.total_views) / views
FROM editorial_article_performance AS p
INNER JOIN (SELECT article_id, primary_category_id FROM editorial_articles FINAL) AS about
    ON about.article_id = p.article_id
GROUP BY 1, 2, 3
HAVING views > 0
"""


def fill_performance(client: Client) -> None:
    """Replace the rows of editorial_category_performance."""
    client.run("TRUNCATE TABLE editorial_category_performance")
    client.run(_PERFORMANCE)
