-- grain: (company_id, brand_id, user_id), one row of customer_user_segment_assignments for every staged score
-- parameters: run_id String, model_version String, date Date, run_at DateTime
-- placeholders: staging (the run's table)
-- units: confidence_score from 0 (on the border of two segments) to 1 (in the middle of a segment)
-- is_current: 1 unless a later day is assigned already; raypipe closes the rows of earlier days once a run is committed
SELECT
    UUIDNumToString(murmurHash3_128({run_id:String}, company_id, brand_id, user_id)) AS assignment_id,
    user_id,
    company_id,
    brand_id,
    UUIDNumToString(murmurHash3_128('segment', company_id, brand_id, cluster)) AS segment_id,
    {date:Date} AS assignment_date,
    score AS confidence_score,
    {model_version:String} AS model_version,
    {date:Date} >= (SELECT max(assignment_date) FROM customer_user_segment_assignments) AS is_current,
    {run_at:DateTime} AS created_at
FROM {staging} AS staged
