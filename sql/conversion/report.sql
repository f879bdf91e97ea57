-- grain: (company_id, brand_id, user_id), the committed conversion predictions of a run, with names
-- parameters: run_id String, date Date
-- units: conversion_value is the expected monthly price, as in publish.sql
SELECT
    company_id,
    brand_id,
    user_id,
    brand_name,
    prediction_probability AS conversion_probability,
    prediction_class AS likelihood,
    prediction_confidence AS model_confidence,
    offer.conversion_tier AS conversion_tier,
    offer.conversion_value AS conversion_value,
    {include:shared/reader_columns.sql}
FROM ({include:shared/named_predictions.sql}) AS predicted
ANY LEFT JOIN (
    SELECT prediction_id, conversion_tier, conversion_value
    FROM raypipe_current_customer_conversion_predictions
    WHERE prediction_date = {date:Date}
) AS offer USING (prediction_id)
ORDER BY conversion_probability DESC, company_id, brand_id, user_id
