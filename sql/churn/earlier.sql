-- grain: (company_id, brand_id, user_id, prediction_date, model_version), churn predictions that no run of raypipe wrote
-- parameters: first Date, last Date (the days to search, both included)
-- ties: among several rows of a key, date and version, the row written last counts
SELECT company_id, brand_id, user_id, prediction_date, model_version, churn_probability AS score, churn_risk_level AS level
FROM customer_churn_predictions
WHERE prediction_date BETWEEN {first:Date} AND {last:Date}
    AND model_version NOT IN (SELECT model_version FROM raypipe_runs WHERE pipeline = 'churn')
ORDER BY created_at DESC
LIMIT 1 BY company_id, brand_id, user_id, prediction_date, model_version
