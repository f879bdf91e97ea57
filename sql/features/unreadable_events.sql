-- grain: one row, the events of the day's users whose engagement_metrics are no JSON object
-- placeholders: features (the twin of customer_user_features that holds the day)
SELECT sum(JSONExtractUInt(ml_features, 'unreadable_events')) FROM {features}
