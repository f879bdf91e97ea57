-- grain: (context, arm), the committed policy of a run, with names
-- parameters: run_id String, date Date
-- units: expected and its 95 % interval low to high in revenue per impression; share, best from 0 to 1
-- why: the reference tables replace by key, so they are read with FINAL and joined with ANY
SELECT
    prediction.context AS context,
    company.company_name AS company_name,
    brand.brand_name AS brand_name,
    device.device_type_name AS device_type_name,
    category.category_name AS category_name,
    answer.1 AS arm,
    answer.1 = prediction.recommended AS is_recommended,
    answer.2.impressions AS impressions,
    answer.2.clicks AS clicks,
    answer.2.revenue AS revenue,
    answer.2.expected AS expected,
    answer.2.low AS low,
    answer.2.high AS high,
    answer.2.best AS best,
    answer.2.share AS share,
    prediction.status AS status
FROM
(
    SELECT
        entity_id AS context,
        company_id,
        brand_id,
        prediction_class AS recommended,
        JSONExtractString(input_features, 'device_type_id') AS device_type_id,
        JSONExtractString(input_features, 'category_id') AS category_id,
        JSONExtractString(metadata, 'status') AS status,
        JSONExtract(metadata, 'arms', 'Array(Tuple(String, Tuple(impressions UInt64, clicks UInt64, revenue Float64, expected Float64, low Float64, high Float64, best Float64, share Float64)))') AS answers
    FROM raypipe_current_predictions
    WHERE batch_id = {run_id:String} AND prediction_date = {date:Date}
) AS prediction
ARRAY JOIN answers AS answer
ANY LEFT JOIN (SELECT company_id AS id, company_name FROM companies FINAL) AS company ON company.id = prediction.company_id
ANY LEFT JOIN (SELECT brand_id AS id, brand_name FROM brands FINAL) AS brand ON brand.id = prediction.brand_id
ANY LEFT JOIN (SELECT device_type_id AS id, device_type_name FROM device_types FINAL) AS device ON device.id = prediction.device_type_id
ANY LEFT JOIN (SELECT category_id AS id, category_name FROM categories FINAL) AS category ON category.id = prediction.category_id
ORDER BY context, expected DESC, arm
