-- grain: (company_id, brand_id, user_id), the explained predictions of a committed run, the highest scores first
-- parameters: date Date, most UInt16
-- placeholders: view (the committed rows of the pipeline's target), score (its column)
SELECT user_id, brand_id, {score} AS score, feature_importance
FROM {view}
WHERE prediction_date = {date:Date} AND feature_importance != ''
ORDER BY score DESC, company_id, brand_id, user_id
LIMIT {most:UInt16}
