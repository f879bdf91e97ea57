-- grain: (company_id, brand_id, user_id, article_id), articles that a user saw in the days after the snapshot
-- parameters: date Date (the snapshot), until Date (the last day of the horizon), timezone String (of the days)
-- label: 1 if the user clicked on the article in these days, 0 if the user only saw it
SELECT
    company_id,
    brand_id,
    user_id,
    article_id,
    max(event_type = 'article_click') AS label
FROM customer_events
WHERE event_timestamp >= toDateTime({date:Date} + 1, {timezone:String}) AND event_timestamp < toDateTime({until:Date} + 1, {timezone:String})
    AND event_type IN ('article_view', 'article_click') AND user_id != '' AND article_id != ''
GROUP BY company_id, brand_id, user_id, article_id
HAVING countIf(event_type = 'article_view') > 0
