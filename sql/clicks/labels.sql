-- grain: (company_id, brand_id, user_id, article_id), articles that a user saw in the days after the snapshot, or in the list of
--     recommendations of the snapshot
-- parameters: date Date (the snapshot), until Date (the last day of the horizon), timezone String (of the days)
-- label: 1 if the user clicked on the article in these days, 0 if the user only saw it
-- shown: a site that notes was_shown and was_clicked in customer_recommendations adds to what its events say; a click without a time counts
SELECT
    company_id,
    brand_id,
    user_id,
    article_id,
    max(clicked) AS label
FROM
(
    SELECT company_id, brand_id, user_id, article_id, event_type = 'article_view' AS seen, event_type = 'article_click' AS clicked
    FROM customer_events
    WHERE event_timestamp >= toDateTime({date:Date} + 1, {timezone:String}) AND event_timestamp < toDateTime({until:Date} + 1, {timezone:String})
        AND event_type IN ('article_view', 'article_click') AND user_id != '' AND article_id != ''
    UNION ALL
    SELECT
        company_id, brand_id, user_id, article_id, 1 AS seen,
        was_clicked = 1 AND (clicked_at = toDateTime(0) OR clicked_at < toDateTime({until:Date} + 1, {timezone:String})) AS clicked
    FROM customer_recommendations
    WHERE was_shown = 1 AND {include:shared/published_lists.sql}
)
GROUP BY company_id, brand_id, user_id, article_id
HAVING max(seen) = 1
