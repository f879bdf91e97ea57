-- grain: (company_id, brand_id, user_id), a row of the snapshot with some of its ml_features as columns
-- parameters: date Date (the snapshot)
-- placeholders: slice (a predicate on the sorting key of customer_user_features)
-- use: an example for a pipeline's own features.sql. The JSON is parsed once per row, into a tuple of the wanted values;
--     ml_model_features lists them all. A JSONExtract per feature would parse it once per feature.
-- missing: NULL if ml_features was never filled, if a source had no rows, and for an event type without events
WITH
    JSONExtract(
        ml_features,
        'Tuple(
            articles_viewed Nullable(Float32),
            avg_article_engagement Nullable(Float32),
            unique_authors_followed Nullable(Float32),
            categories_engaged Nullable(Float32),
            content_events_trend Nullable(Float32),
            sessions_weighted Nullable(Float32),
            sessions_trend Nullable(Float32),
            engagement_trend Nullable(Float32),
            events_by_type Tuple(search Nullable(Float32), newsletter_signup Nullable(Float32))
        )'
    ) AS known
SELECT
    company_id,
    brand_id,
    user_id,
    total_sessions,
    known.articles_viewed AS articles_viewed,
    known.avg_article_engagement AS avg_article_engagement,
    known.unique_authors_followed AS unique_authors_followed,
    known.categories_engaged AS categories_engaged,
    known.content_events_trend AS content_events_trend,
    known.sessions_weighted AS sessions_weighted,
    known.sessions_trend AS sessions_trend,
    known.engagement_trend AS engagement_trend,
    tupleElement(known.events_by_type, 'search') AS searches,
    tupleElement(known.events_by_type, 'newsletter_signup') AS newsletter_signups
FROM customer_user_features
WHERE feature_date = {date:Date} AND {slice}
