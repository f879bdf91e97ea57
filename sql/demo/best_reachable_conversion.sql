-- grain: (company_id, brand_id, user_id), every row of demo_truth
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- score: the true probability that a paid subscription begins in (date, until], of a reader on the free tier at the end of date; no
--     model can rank better. A hazard has no memory: the time on the free tier reveals nothing
WITH
    {include:demo/hazard.sql},
    (SELECT groupArray(toUInt16(day)) FROM demo_days WHERE day > {date:Date} AND day <= {until:Date}) AS days
SELECT
    company_id,
    brand_id,
    user_id,
    1 - exp(-arraySum(day -> hazard(day), days)) AS score
FROM demo_truth
