-- grain: feature_date, the rows of a partition's other days
-- parameters: date Date (the day that is left out), partition String (its id)
-- placeholders: features (customer_user_features or a twin of it)
SELECT feature_date, count()
FROM {features}
WHERE _partition_id = {partition:String} AND feature_date != {date:Date}
GROUP BY feature_date
ORDER BY feature_date
