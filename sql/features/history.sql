-- grain: reader (a hash of brand_id, user_id), every known reader of an article with a category in the window
-- parameters: date Date (the last day of the window)
-- placeholders: categories (rows of category_rows.sql or category_days.sql)
-- window: the 84 days up to and including the date; a suffix such as _21d names another number of days
-- favourite: the category with the most events, as (category, events, events_21d, the day of the last event)
-- units: points in the points of editorial_category_performance, demand as an index: 0 is steady; NULL without any
SELECT
    counted.*,
    trend.points AS favourite_points,
    trend.usual_points AS favourite_usual_points,
    trend.points_before AS favourite_points_before,
    trend.demand AS favourite_demand,
    trend.demand_7d AS favourite_demand_7d
FROM
(
    SELECT
        reader,
        sum(n) AS events_84d,
        sum(n_28) AS events_28d,
        sum(n_21) AS events_21d,
        sum(n * (n - 1)) / nullIf(events_84d * (events_84d - 1), 0) AS concentration,
        argMax((category, n, n_21, newest), (n, category)) AS favourite,
        favourite.1 AS favourite_category
    FROM
    (
        SELECT
            reader,
            category,
            sum(events) AS n,
            sumIf(events, day > {date:Date} - 28) AS n_28,
            sumIf(events, day > {date:Date} - 21) AS n_21,
            max(day) AS newest
        FROM ({categories})
        WHERE day > {date:Date} - 84 AND day <= {date:Date}
        GROUP BY reader, category
    )
    GROUP BY reader
) AS counted
ANY LEFT JOIN
(
    -- The engine adds up scores like counts: the rows of a key are combined here, with the score weighted by its views.
    SELECT
        sipHash64(category_id) AS key,
        sumIf(toFloat64(avg_engagement_score) * total_views, performance_date > {date:Date} - 28)
            / nullIf(sumIf(total_views, performance_date > {date:Date} - 28), 0) AS points,
        sumIf(toFloat64(avg_engagement_score) * total_views, performance_date > {date:Date} - 56 AND performance_date <= {date:Date} - 28)
            / nullIf(sumIf(total_views, performance_date > {date:Date} - 56 AND performance_date <= {date:Date} - 28), 0) AS points_before,
        sum(toFloat64(avg_engagement_score) * total_views) / nullIf(sum(total_views), 0) AS usual_points,
        6 * sumIf(total_views, performance_date > {date:Date} - 14) / nullIf(sum(total_views), 0) - 1 AS demand,
        12 * sumIf(total_views, performance_date > {date:Date} - 7) / nullIf(sum(total_views), 0) - 1 AS demand_7d
    FROM editorial_category_performance
    PREWHERE performance_date > {date:Date} - 84 AND performance_date <= {date:Date}
    GROUP BY key
) AS trend ON trend.key = counted.favourite_category
