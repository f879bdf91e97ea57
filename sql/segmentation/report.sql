-- grain: (company_id, brand_id, user_id), the committed assignments of a run, with names
-- parameters: run_id String, date Date
-- why: segments replace by key, so they are read with FINAL and joined with ANY: a key that occurs twice must not double a user
SELECT
    assigned.company_id AS company_id,
    assigned.brand_id AS brand_id,
    assigned.user_id AS user_id,
    reader.brand_name AS brand_name,
    segment.segment_code AS segment_code,
    segment.segment_name AS segment_name,
    assigned.confidence_score AS confidence_score,
    reader.total_sessions AS total_sessions,
    reader.days_since_last_session AS days_since_last_session,
    reader.avg_engagement_score AS avg_engagement_score,
    reader.subscription_tier AS subscription_tier,
    reader.device_type_name AS device_type_name,
    reader.os_name AS os_name,
    reader.browser_name AS browser_name,
    reader.country_name AS country_name,
    reader.city_name AS city_name,
    reader.preferred_category_name AS category_name
FROM
(
    SELECT company_id, brand_id, user_id, segment_id, confidence_score
    FROM raypipe_current_customer_user_segment_assignments
    WHERE assignment_date = {date:Date}
        AND (created_at, model_version) IN (SELECT toDateTime(started_at, 'UTC'), model_version FROM raypipe_runs FINAL WHERE run_id = {run_id:String})
) AS assigned
ANY LEFT JOIN (SELECT segment_id AS id, segment_code, segment_name FROM customer_user_segments FINAL) AS segment ON segment.id = assigned.segment_id
ANY LEFT JOIN ({include:shared/named_users.sql}) AS reader USING (company_id, brand_id, user_id)
ORDER BY company_id, brand_id, user_id
