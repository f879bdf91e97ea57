-- grain: one row, the rows of a day whose ml_features is not a JSON object, so that features from it are missing
-- parameters: date Date (the snapshot)
-- placeholders: features (customer_user_features or a twin of it)
SELECT countIf(ml_features NOT IN ('', '{}') AND toString(JSONType(ml_features)) != 'Object')
FROM {features}
WHERE feature_date = {date:Date}
