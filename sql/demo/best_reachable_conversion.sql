-- grain: (company_id, brand_id, user_id), every row of demo_truth
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- score: the true probability that a paid subscription begins in (date, until], of a reader on the free tier at the end of date; no
--     model can rank better. A constant hazard has no memory: the time on the free tier reveals nothing
SELECT
    company_id,
    brand_id,
    user_id,
    1 - exp(-conversion_hazard * greatest(0, {until:Date} - greatest({date:Date}, joined - 1))) AS score
FROM demo_truth
