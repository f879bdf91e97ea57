-- grain: the committed lists of a run, and the articles that could be in them
-- parameters: run_id String, date Date, timezone String (of the date), days UInt16 (of an article's age)
-- why: articles replace by key, so they are read with FINAL
SELECT
    uniqExact(user_id, brand_id, company_id) AS lists,
    count() AS recommendations,
    uniqExact(article_id) AS articles,
    countIf(recommendation_type = 'popular') AS popular,
    (
        SELECT count()
        FROM editorial_articles FINAL
        WHERE publish_time >= toDateTime({date:Date} - {days:UInt16}, {timezone:String}) AND publish_time < toDateTime({date:Date} + 1, {timezone:String})
    ) AS recent
FROM raypipe_current_customer_recommendations
WHERE (created_at, model_version) IN (SELECT toDateTime(started_at, 'UTC'), model_version FROM raypipe_runs FINAL WHERE run_id = {run_id:String})
