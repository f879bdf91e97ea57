-- grain: (company_id, brand_id, user_id), the rows of {users} with their ml_features
-- parameters: date Date, run_at DateTime (the time of writing), event_types Array(String), content_types Array(String), event_places Array(UInt32), content_places Array(UInt32), knows_sessions UInt8, knows_events UInt8, knows_content UInt8, usual_engagement Float64
-- places: the place of each type in by_type; knows_sessions and so on: whether the table has any row in the 28 days
-- placeholders: users (a SELECT of customer_user_features), visits (visits.sql), activity (activity.sql), content (content.sql), history (history.sql)
-- json: a flat object with events_by_type and content_by_type inside; null means unknown, 0 means none
-- kept: a row that has ml_features already stays unchanged
-- shrunk: a share of few sessions or reads is drawn towards the usual share, and engagement towards usual_engagement, the mean of all sessions
WITH
    least(84, {date:Date} - users.first_session_date + 1) AS exposure,
    -- The days without a session since the last one, that day excluded.
    arrayCount(n -> toDayOfWeek({date:Date} - n) < 6, range(visits.idle)) AS weekdays_since,
    (history.favourite.2 - history.favourite.3) / nullIf(history.events_84d - history.events_21d, 0) AS favourite_before
SELECT
    users.* EXCEPT (unfilled, person, reader) REPLACE (
        if(unfilled, toJSONString(CAST(
            (
                if({knows_content:UInt8}, content.articles_viewed, NULL),
                if({knows_content:UInt8}, content.engagement, NULL),
                if({knows_content:UInt8}, content.views, NULL),
                if({knows_content:UInt8}, content.authors, NULL),
                if({knows_content:UInt8}, content.categories, NULL),
                if({knows_content:UInt8}, content.sections, NULL),
                content.article_age / 86400,
                if({knows_content:UInt8}, content.events_7d, NULL),
                if({knows_content:UInt8}, content.events_28d, NULL),
                if({knows_content:UInt8}, content.events_weighted, NULL),
                4 * content.events_7d / nullIf(content.events_28d, 0) - 1,
                mapFromArrays({content_types:Array(String)}, arrayMap(place -> content.by_type[place], {content_places:Array(UInt32)})),
                content.quality_7d - content.quality,
                if({knows_content:UInt8}, history.events_84d, NULL),
                3 * history.events_28d / nullIf(history.events_84d, 0) - 1,
                history.concentration,
                if(history.events_84d = 0, NULL, (history.favourite.2 + 1) / (history.events_84d + 4)),
                if(history.events_21d = 0, NULL, (history.favourite.3 - history.events_21d * favourite_before) / (history.events_21d + 2)),
                if(history.events_21d = 0, NULL, (history.favourite.3 - history.events_21d * favourite_before) / sqrt(history.events_21d * favourite_before * (1 - favourite_before) + 1)),
                history.favourite_points,
                history.favourite_points - history.favourite_usual_points,
                history.favourite_points_before - history.favourite_usual_points,
                history.favourite_demand,
                history.favourite_demand_7d,
                if(history.events_84d = 0, NULL, {date:Date} - history.favourite.4),
                if({knows_sessions:UInt8}, visits.sessions_7d, NULL),
                if({knows_sessions:UInt8}, visits.sessions_28d, NULL),
                if({knows_sessions:UInt8}, visits.sessions_weighted, NULL),
                4 * visits.sessions_7d / nullIf(visits.sessions_28d, 0) - 1,
                if({knows_sessions:UInt8}, visits.active_days, NULL),
                if({knows_sessions:UInt8}, visits.sessions_84d, NULL),
                if({knows_sessions:UInt8}, visits.sessions_weighted_2, NULL),
                if({knows_sessions:UInt8}, visits.sessions_weighted_28, NULL),
                3 * visits.sessions_28d / nullIf(visits.sessions_84d, 0) - 1,
                if({knows_sessions:UInt8}, visits.active_days_84d, NULL),
                if(visits.active_days_84d = 0, NULL, (visits.active_weekends_84d + 2) / (visits.active_days_84d + 7)),
                if(visits.active_days_84d = 0, NULL, weekdays_since * (visits.active_days_84d - visits.active_weekends_84d + 0.5) / (exposure * 5 / 7 + 7)
                    + (visits.idle - weekdays_since) * (visits.active_weekends_84d + 0.5) / (exposure * 2 / 7 + 7)),
                if(visits.active_days_84d < 2, NULL, visits.longest_pause),
                if(visits.active_days_84d < 2, NULL, visits.pause_ended),
                if(visits.active_days_84d = 0, NULL, visits.first_active),
                visits.log_seconds / nullIf(visits.sessions_84d, 0),
                if(visits.sessions_84d = 0, NULL, (visits.from_search + 0.5) / (visits.sessions_84d + 2)),
                if(visits.sessions_84d = 0, NULL, (visits.from_newsletter + 0.5) / (visits.sessions_84d + 2)),
                if({knows_sessions:UInt8}, (visits.engagement_weighted_28 + 2 * {usual_engagement:Float64}) / (visits.sessions_weighted_28 + 2), NULL),
                if({knows_sessions:UInt8}, visits.engagement_7d, NULL),
                if({knows_sessions:UInt8}, visits.engagement_28d, NULL),
                if({knows_sessions:UInt8}, visits.engagement_weighted, NULL),
                visits.engagement_7d / nullIf(visits.sessions_7d, 0)
                    - visits.engagement_28d / nullIf(visits.sessions_28d, 0),
                if({knows_events:UInt8}, activity.events_7d, NULL),
                if({knows_events:UInt8}, activity.events_28d, NULL),
                if({knows_events:UInt8}, activity.events_weighted, NULL),
                4 * activity.events_7d / nullIf(activity.events_28d, 0) - 1,
                mapFromArrays({event_types:Array(String)}, arrayMap(place -> activity.by_type[place], {event_places:Array(UInt32)})),
                activity.time_on_page,
                activity.scroll_depth,
                if({knows_events:UInt8}, activity.unreadable_events, NULL)
            ),
            'Tuple(
                articles_viewed Nullable(UInt32),
                avg_article_engagement Nullable(Float32),
                total_article_views Nullable(Float64),
                unique_authors_followed Nullable(UInt32),
                categories_engaged Nullable(UInt32),
                sections_engaged Nullable(UInt32),
                avg_article_age_days Nullable(Float32),
                content_events_7d Nullable(UInt32),
                content_events_28d Nullable(UInt32),
                content_events_weighted Nullable(Float32),
                content_events_trend Nullable(Float32),
                content_by_type Map(String, UInt32),
                read_quality_trend Nullable(Float32),
                category_events_84d Nullable(UInt32),
                category_events_trend_84d Nullable(Float32),
                category_concentration Nullable(Float32),
                favourite_share Nullable(Float32),
                favourite_change Nullable(Float32),
                favourite_z Nullable(Float32),
                favourite_quality Nullable(Float32),
                favourite_quality_trend Nullable(Float32),
                favourite_quality_trend_before Nullable(Float32),
                favourite_demand Nullable(Float32),
                favourite_demand_7d Nullable(Float32),
                favourite_idle_days Nullable(UInt32),
                sessions_7d Nullable(UInt32),
                sessions_28d Nullable(UInt32),
                sessions_weighted Nullable(Float32),
                sessions_trend Nullable(Float32),
                active_days_28d Nullable(UInt32),
                sessions_84d Nullable(UInt32),
                sessions_weighted_2 Nullable(Float32),
                sessions_weighted_28 Nullable(Float32),
                sessions_trend_84d Nullable(Float32),
                active_days_84d Nullable(UInt32),
                weekend_share Nullable(Float32),
                visits_missed Nullable(Float32),
                longest_pause_days Nullable(UInt32),
                pause_ended_days Nullable(UInt32),
                first_active_days Nullable(UInt32),
                log_session_sec Nullable(Float32),
                search_share Nullable(Float32),
                newsletter_share Nullable(Float32),
                engagement_level Nullable(Float32),
                engagement_7d Nullable(Float32),
                engagement_28d Nullable(Float32),
                engagement_weighted Nullable(Float32),
                engagement_trend Nullable(Float32),
                events_7d Nullable(UInt32),
                events_28d Nullable(UInt32),
                events_weighted Nullable(Float32),
                events_trend Nullable(Float32),
                events_by_type Map(String, UInt32),
                avg_time_on_page_sec Nullable(Float32),
                avg_scroll_depth Nullable(Float32),
                unreadable_events Nullable(UInt32)
            )'
        )), users.ml_features) AS ml_features,
        if(unfilled, {run_at:DateTime}, users.updated_at) AS updated_at
    )
FROM (
    SELECT *, ml_features IN ('', '{}') AS unfilled, murmurHash3_128(company_id, brand_id, user_id) AS person, murmurHash3_128(brand_id, user_id) AS reader
    FROM ({users})
) AS users
ANY LEFT JOIN ({visits}) AS visits ON visits.person = users.person
ANY LEFT JOIN ({activity}) AS activity ON activity.person = users.person
ANY LEFT JOIN ({content}) AS content ON content.reader = users.reader
ANY LEFT JOIN ({history}) AS history ON history.reader = users.reader
