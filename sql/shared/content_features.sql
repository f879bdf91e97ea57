-- grain: none of its own; columns of ml_features, `FROM customer_user_features`, with {include:shared/ml_features.sql} in WITH
-- missing: NULL if ml_features is empty or not a JSON object, or if a source had no rows
-- units: as in ml_model_features, which describes each column
ml.articles_viewed AS articles_viewed,
ml.avg_article_engagement AS avg_article_engagement,
ml.unique_authors_followed AS unique_authors_followed,
ml.categories_engaged AS categories_engaged,
ml.avg_article_age_days AS avg_article_age_days,
ml.content_events_weighted AS content_events_weighted,
ml.content_events_trend AS content_events_trend,
tupleElement(ml.content_by_type, 'view') AS content_views,
tupleElement(ml.content_by_type, 'click') AS content_clicks,
tupleElement(ml.content_by_type, 'share') AS content_shares,
ml.sessions_weighted AS sessions_weighted,
ml.sessions_trend AS sessions_trend,
ml.active_days_28d AS active_days_28d,
ml.engagement_weighted AS engagement_weighted,
ml.engagement_trend AS session_engagement_trend,
ml.events_weighted AS events_weighted,
ml.events_trend AS events_trend,
ml.avg_time_on_page_sec AS avg_time_on_page_sec,
ml.avg_scroll_depth AS avg_scroll_depth
