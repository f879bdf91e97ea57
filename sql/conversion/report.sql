-- grain: (company_id, brand_id, user_id), the published conversion predictions of a run, with names
-- parameters: run_id String, date Date
SELECT
    company_id,
    brand_id,
    user_id,
    brand_name,
    prediction_probability AS conversion_probability,
    prediction_class AS likelihood,
    prediction_confidence AS model_confidence,
    {include:shared/reader_columns.sql}
FROM ({include:shared/named_predictions.sql})
