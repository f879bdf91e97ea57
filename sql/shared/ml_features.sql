-- grain: none of its own; an expression named ml for a WITH over customer_user_features
-- cost: one tuple, so that each row's JSON is parsed once, whatever the number of features
-- broken: text that is not a JSON object gives a tuple of NULLs; an array would fill the tuple in order
JSONExtract(
    if(startsWith(trimLeft(substring(ml_features, 1, 16)), '{'), ml_features, ''),
    'Tuple(
        articles_viewed Nullable(Float32),
        avg_article_engagement Nullable(Float32),
        unique_authors_followed Nullable(Float32),
        categories_engaged Nullable(Float32),
        avg_article_age_days Nullable(Float32),
        content_events_weighted Nullable(Float32),
        content_events_trend Nullable(Float32),
        content_by_type Tuple(view Nullable(Float32), click Nullable(Float32), share Nullable(Float32)),
        sessions_weighted Nullable(Float32),
        sessions_trend Nullable(Float32),
        active_days_28d Nullable(Float32),
        engagement_weighted Nullable(Float32),
        engagement_trend Nullable(Float32),
        events_weighted Nullable(Float32),
        events_trend Nullable(Float32),
        avg_time_on_page_sec Nullable(Float32),
        avg_scroll_depth Nullable(Float32)
    )'
) AS ml
