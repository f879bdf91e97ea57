-- grain: one row, the rows of a day and the number of rows without ml_features
-- parameters: date Date (the snapshot)
-- placeholders: features (customer_user_features or a twin of it)
SELECT count(), countIf(ml_features IN ('', '{}'))
FROM {features}
WHERE feature_date = {date:Date}
