-- grain: feature of ml_features, an event type's as events_by_type.article_view
-- parameters: date Date (the snapshot)
-- placeholders: features (customer_user_features)
-- missing: null does not count
SELECT
    feature.1 AS name,
    min(feature.2) AS smallest,
    max(feature.2) AS largest,
    avg(feature.2) AS mean,
    stddevPop(feature.2) AS spread
FROM
(
    SELECT arrayJoin(arrayConcat(
        JSONExtractKeysAndValues(ml_features, 'Float64'),
        arrayMap(pair -> (concat('content_by_type.', pair.1), pair.2), JSONExtractKeysAndValues(ml_features, 'content_by_type', 'Float64')),
        arrayMap(pair -> (concat('events_by_type.', pair.1), pair.2), JSONExtractKeysAndValues(ml_features, 'events_by_type', 'Float64'))
    )) AS feature
    FROM {features}
    WHERE feature_date = {date:Date}
)
GROUP BY name
