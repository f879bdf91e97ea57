-- grain: (company_id, brand_id, user_id), every row of demo_truth
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- score: the true probability of no session in (date, until], given all latent values; no model can rank better
WITH (SELECT groupArray((day, weight, weekend_weight)) FROM demo_days WHERE day > {date:Date} AND day <= {until:Date}) AS days
SELECT
    company_id,
    brand_id,
    user_id,
    exp(-intensity * arraySum((day, weight) -> day >= joined ? weight : 0, days.1, weekend_reader ? days.3 : days.2)) AS score
FROM demo_truth
