-- grain: entity, a prediction whose outcome is not known yet
-- parameters: those of predictions
-- placeholders: predictions (published.sql)
SELECT entity, score, level, CAST(NULL, 'Nullable(Float64)') AS label
FROM ({predictions})
