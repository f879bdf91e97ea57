-- grain: (company_id, brand_id, user_id), the committed churn predictions of a run, with names
-- parameters: run_id String, date Date
SELECT
    company_id,
    brand_id,
    user_id,
    brand_name,
    prediction_probability AS churn_probability,
    prediction_class AS churn_risk_level,
    prediction_confidence AS model_confidence,
    {include:shared/reader_columns.sql}
FROM ({include:shared/named_predictions.sql})
ORDER BY churn_probability DESC, company_id, brand_id, user_id
