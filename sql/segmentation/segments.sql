-- grain: (company_id, brand_id, cluster), one row of customer_user_segments for every segment that the pipeline ever wrote
-- parameters: pipeline String, date Date, timezone String (of the date), run_at DateTime, model_version String; segment_numbers, segment_codes, segment_names and segment_descriptions (arrays in one order, from the model)
-- placeholders: staging (the run's table)
-- units: means over the segment's readers of a brand; durations in seconds, engagement in points of 100, the rate from 0 to 1
-- segment_id: derived from company, brand and number, so that it lasts as long as the number
-- is_active: 1 if a reader of the brand belongs to the segment; a segment that the model no longer has, or without readers, gets a row with 0 and its last name
-- why: the set of segments follows from keys alone, not from the newest row of a key, so merges, a resumed run and a repeated date see the same segments
-- updated_at: the end of the scored day, so that the newest day counts, whenever it was computed
SELECT
    UUIDNumToString(murmurHash3_128('segment', company_id, brand_id, cluster)) AS segment_id,
    company_id,
    brand_id,
    transform(cluster, {segment_numbers:Array(UInt16)}, {segment_names:Array(String)}, '') AS segment_name,
    transform(cluster, {segment_numbers:Array(UInt16)}, {segment_codes:Array(String)}, '') AS segment_code,
    cluster AS cluster_number,
    transform(cluster, {segment_numbers:Array(UInt16)}, {segment_descriptions:Array(String)}, '') AS description,
    toUInt32(count()) AS user_count,
    toFloat32(avg(staged.avg_engagement_score)) AS avg_engagement_score,
    toFloat32(avg(staged.total_sessions)) AS avg_sessions,
    toFloat32(avg(staged.avg_session_duration_sec)) AS avg_duration_sec,
    toFloat32(avg(staged.newsletter_signup_rate)) AS newsletter_signup_rate,
    {model_version:String} AS model_version,
    1 AS is_active,
    {run_at:DateTime} AS created_at,
    toDateTime({date:Date} + 1, {timezone:String}) AS updated_at
FROM {staging} AS staged
GROUP BY company_id, brand_id, cluster
UNION ALL
SELECT
    segment_id,
    company_id,
    brand_id,
    last.1 AS segment_name,
    last.2 AS segment_code,
    cluster_number,
    last.3 AS description,
    toUInt32(0) AS user_count,
    toFloat32(0) AS avg_engagement_score,
    toFloat32(0) AS avg_sessions,
    toFloat32(0) AS avg_duration_sec,
    toFloat32(0) AS newsletter_signup_rate,
    {model_version:String} AS model_version,
    0 AS is_active,
    {run_at:DateTime} AS created_at,
    toDateTime({date:Date} + 1, {timezone:String}) AS updated_at
FROM
(
    SELECT
        any(known.segment_id) AS segment_id,
        company_id,
        brand_id,
        cluster_number,
        argMax(tuple(segment_name, segment_code, description), tuple(known.updated_at, known.created_at)) AS last
    FROM customer_user_segments AS known
    WHERE (created_at, model_version) IN (SELECT toDateTime(started_at, 'UTC'), model_version FROM raypipe_runs FINAL WHERE pipeline = {pipeline:String})
    GROUP BY company_id, brand_id, cluster_number
)
WHERE (company_id, brand_id, cluster_number) NOT IN (SELECT company_id, brand_id, cluster FROM {staging})
