-- grain: (company_id, brand_id, user_id), every row of demo_truth
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- score: the true probability of no session in (date, until], given all latent values; no model can rank better
WITH
    {include:demo/visits.sql},
    (SELECT groupArray((toUInt16(day), weight, weekend_weight)) FROM demo_days WHERE day > {date:Date} AND day <= {until:Date}) AS days
SELECT
    company_id,
    brand_id,
    user_id,
    exp(-arraySum((day, weight) -> visits(day, weight), days.1, weekend_reader ? days.3 : days.2)) AS score
FROM demo_truth
