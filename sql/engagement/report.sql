-- grain: (company_id, brand_id, user_id), the committed engagement predictions of a run, with names
-- parameters: run_id String, date Date
SELECT
    company_id,
    brand_id,
    user_id,
    brand_name,
    prediction_value AS expected_engagement,
    prediction_class AS engagement_level,
    {include:shared/reader_columns.sql}
FROM ({include:shared/named_predictions.sql})
ORDER BY expected_engagement DESC, company_id, brand_id, user_id
