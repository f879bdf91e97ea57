-- grain: one metric and arm of an experiment on a day of looking, the oldest first
-- parameters: first Date, author String (of the rows; other writers of the table are left out)
SELECT test_code, test_name, model_a_id, model_b_id, test_start_date, test_end_date, test_status, model_a_metric, model_b_metric,
    model_a_predictions, model_b_predictions, winning_model_id, metadata
FROM ml_model_ab_tests FINAL
WHERE created_by = {author:String} AND test_end_date >= {first:Date}
ORDER BY test_code, test_end_date, test_id
