-- grain: entity (a hash of the entity key), the predictions of a date by a version of another tool
-- parameters: first Date, last Date (both the date), model_version String
-- placeholders: keys (the entity key as text), earlier (the pipeline's earlier.sql)
SELECT murmurHash3_128({keys}) AS entity, toFloat64(score) AS score, toString(level) AS level
FROM ({earlier})
WHERE model_version = {model_version:String}
