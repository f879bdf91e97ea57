-- grain: none of its own; a condition on customer_recommendations: the lists of the run that is published for the date
-- parameters: date Date
(created_at, model_version) IN
(
    SELECT toDateTime(started_at, 'UTC'), model_version
    FROM raypipe_runs FINAL
    WHERE pipeline = 'recommendation' AND date = {date:Date} AND status = 'PUBLISHED'
)
