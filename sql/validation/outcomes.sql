-- grain: entity, a prediction and its outcome; label is NULL without an outcome, or if the score is not a number
-- parameters: date Date, until Date, and the parameters of predictions
-- placeholders: predictions (published.sql or earlier.sql), labels (the pipeline's labels.sql), keys (the entity key as text)
SELECT
    predicted.entity AS entity,
    predicted.score AS score,
    predicted.level AS level,
    if(isFinite(predicted.score), labelled.label, NULL) AS label
FROM ({predictions}) AS predicted
ANY LEFT JOIN (SELECT murmurHash3_128({keys}) AS entity, toNullable(toFloat64(label)) AS label FROM ({labels})) AS labelled
    ON labelled.entity = predicted.entity
