-- grain: (article_id), every article with names instead of ids
-- why: these tables replace by key, so they are read with FINAL and joined with ANY: a key that occurs twice must not double a row
-- use: a report joins it, `ANY LEFT JOIN ({include:shared/named_articles.sql}) AS article USING (article_id)`
SELECT
    written.article_id AS article_id,
    written.title AS title,
    category.category_name AS category_name,
    author.author_name AS author_name,
    toDateTime64(written.publish_time, 0, 'UTC') AS published_at
FROM editorial_articles AS written FINAL
ANY LEFT JOIN (SELECT author_id AS id, author_name FROM editorial_authors FINAL) AS author ON author.id = written.primary_author_id
ANY LEFT JOIN (SELECT category_id AS id, category_name FROM categories FINAL) AS category ON category.id = written.primary_category_id
