-- grain: (prediction_date, model_version) of predictions that another tool made, newest date first
-- parameters: first Date, last Date (the days looked at)
-- placeholders: earlier (the pipeline's earlier.sql)
SELECT prediction_date, model_version
FROM ({earlier})
GROUP BY prediction_date, model_version
ORDER BY prediction_date DESC, model_version
