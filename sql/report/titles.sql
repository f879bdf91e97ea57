-- grain: one article of the committed lists of a run, the most frequent first
-- parameters: run_id String, most UInt16
-- why: the reference tables replace by key, so they are read with FINAL and joined with ANY
SELECT article.title AS title, article.category_name AS category_name, listed.lists AS lists, listed.first AS first
FROM
(
    SELECT article_id, count() AS lists, countIf(rank_position = 1) AS first
    FROM raypipe_current_customer_recommendations
    WHERE (created_at, model_version) IN (SELECT toDateTime(started_at, 'UTC'), model_version FROM raypipe_runs FINAL WHERE run_id = {run_id:String})
    GROUP BY article_id
    ORDER BY lists DESC, article_id
    LIMIT {most:UInt16}
) AS listed
ANY LEFT JOIN ({include:shared/named_articles.sql}) AS article USING (article_id)
ORDER BY lists DESC, title
