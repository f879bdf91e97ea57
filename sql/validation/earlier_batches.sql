-- grain: (prediction_date, model_version) of another tool's predictions, newest date first
-- parameters: first Date, last Date (the days to search)
-- placeholders: earlier (the pipeline's earlier.sql)
SELECT prediction_date, model_version
FROM ({earlier})
GROUP BY prediction_date, model_version
ORDER BY prediction_date DESC, model_version
