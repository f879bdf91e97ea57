-- grain: one feature of a model version, the most important first
-- parameters: model_id String
SELECT feature_name, feature_importance, description
FROM ml_model_features FINAL
WHERE model_id = {model_id:String}
ORDER BY feature_rank
