-- grain: (company_id, brand_id, user_id), every row of demo_truth
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- units: score in points of 100
-- score: the expected mean engagement score of the sessions in (date, until], given all latent values. The remaining squared error
--     is noise, and a model beats it only by luck. Exact except for the rounding to quarter points and, if the drift
--     begins within these days, for a reader's sessions before and after it, which count by the expected visits of the days
WITH
    (SELECT groupArray((day, weight, weekend_weight, drifted)) FROM demo_days WHERE day > {date:Date} AND day <= {until:Date}) AS days,
    arrayMap((day, weight) -> day >= joined ? 1 - exp(-intensity * weight) : 0, days.1, weekend_reader ? days.3 : days.2) AS visiting,
    arraySum((chance, late) -> late ? chance : 0, visiting, days.4) / nullIf(arraySum(visiting), 0) AS late_share,
    -- The mean of a normal value that is clipped to 0 below, and of a value that is also clipped to 100.
    (mean, spread) -> mean * (1 + erf(mean / spread / sqrt(2))) / 2 + spread * exp(-mean * mean / spread / spread / 2) / sqrt(2 * pi()) AS above_zero,
    (mean, spread) -> above_zero(mean, spread) - above_zero(mean - 100, spread) AS within,
    50 + 13 * toFloat64(loyalty) AS usual
SELECT
    company_id,
    brand_id,
    user_id,
    (1 - ifNull(late_share, 0)) * within(usual, 2.5) + ifNull(late_share, 0) * within(0.75 * usual, 0.75 * 2.5) AS score
FROM demo_truth
