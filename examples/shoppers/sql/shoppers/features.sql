-- grain: session_id
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of shopper_sessions)
-- units: durations in seconds, rates as shares, page_value in dollars
SELECT
    session_id,
    administrative_pages,
    administrative_seconds,
    informational_pages,
    informational_seconds,
    product_pages,
    product_seconds,
    bounce_rate,
    exit_rate,
    page_value,
    special_day,
    month,
    operating_system,
    browser,
    region,
    traffic_type,
    returning_visitor,
    weekend
FROM shopper_sessions
WHERE {slice}
