-- grain: (company_id, brand_id, user_id, article_id), what a reader saw in (date, until] of the articles published by the end of date
-- parameters: date Date (the snapshot), until Date (the last day of the horizon)
-- score: the true probability of a click in (date, until] on an article that is seen then, given everything latent; no model can
--     rank better. How often it is seen is not known beforehand, and weighed by its chances
WITH
    {include:demo/reading.sql},
    1 / (1 + exp(1.2 - 1.2 * (article_topic = topic) - 0.6 * (article_topic = second_topic) - 0.5 * quality)) AS clicking,
    arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, missed), visiting, passing)) AS unseen,
    arrayProduct(arrayMap((visit, missed) -> absent(visit, repeat_rate, 1 - clicking * (1 - missed)), visiting, passing)) AS unclicked
SELECT
    company_id,
    brand_id,
    user_id,
    article_id,
    (1 - unclicked) / (1 - unseen) AS score
FROM
(
    SELECT DISTINCT company_id, brand_id, user_id, article_id
    FROM customer_events
    WHERE event_type = 'article_view' AND event_timestamp >= toDateTime({date:Date} + 1, 'UTC')
        AND event_timestamp < toDateTime({until:Date} + 1, 'UTC')
) AS seen
INNER JOIN demo_truth AS reader USING (company_id, brand_id, user_id)
INNER JOIN ({include:demo/paired_articles.sql}) AS article USING (article_id)
WHERE article_day <= {date:Date}
