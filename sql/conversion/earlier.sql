-- grain: (company_id, brand_id, user_id, prediction_date, model_version), conversion predictions that no run of raypipe wrote
-- parameters: first Date, last Date (the days to search, both included)
-- ties: among several rows of a key, date and version, the row written last counts
-- level: the tier that the other tool expects to be sold, as the table has no level of its own
SELECT company_id, brand_id, user_id, prediction_date, model_version, conversion_probability AS score, conversion_tier AS level
FROM customer_conversion_predictions
WHERE prediction_date BETWEEN {first:Date} AND {last:Date}
    AND model_version NOT IN (SELECT model_version FROM raypipe_runs WHERE pipeline = 'conversion')
ORDER BY created_at DESC
LIMIT 1 BY company_id, brand_id, user_id, prediction_date, model_version
