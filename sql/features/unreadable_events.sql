-- grain: one row, the events of the day's users whose engagement_metrics is not a JSON object
-- placeholders: features (the twin of customer_user_features with the day)
SELECT sum(JSONExtractUInt(ml_features, 'unreadable_events')) FROM {features}
