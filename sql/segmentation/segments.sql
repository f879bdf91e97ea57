-- grain: (company_id, brand_id, cluster), one row of customer_user_segments for every segment with a reader of the brand
-- parameters: date Date, timezone String (of the date), run_at DateTime, model_version String; segment_numbers, segment_codes, segment_names and segment_descriptions (arrays in one order, from the model)
-- placeholders: staging (the run's table)
-- units: means over the segment's readers of a brand; durations in seconds, engagement in points of 100, the rate from 0 to 1
-- segment_id: made of company, brand and number, so that it lasts as long as the number does
-- updated_at: the end of the day that was scored: the newest day counts, whenever it was computed
SELECT
    UUIDNumToString(murmurHash3_128('segment', company_id, brand_id, cluster)) AS segment_id,
    company_id,
    brand_id,
    transform(cluster, {segment_numbers:Array(UInt8)}, {segment_names:Array(String)}, '') AS segment_name,
    transform(cluster, {segment_numbers:Array(UInt8)}, {segment_codes:Array(String)}, '') AS segment_code,
    toUInt16(cluster) AS cluster_number,
    transform(cluster, {segment_numbers:Array(UInt8)}, {segment_descriptions:Array(String)}, '') AS description,
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
