-- grain: (company_id, brand_id, user_id), the rows of {users} with their ml_features
-- parameters: date Date, run_at DateTime (the time of writing), event_types Array(String), content_types Array(String), knows_sessions UInt8, knows_events UInt8, knows_content UInt8 (whether the table has any row in the window)
-- placeholders: users (a SELECT of customer_user_features), activity (activity.sql), content (content.sql)
-- json: a flat object with events_by_type and content_by_type inside; null means unknown, 0 means none
-- kept: a row that has ml_features already stays unchanged
SELECT
    users.* EXCEPT (unfilled) REPLACE (
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
                mapFromArrays({content_types:Array(String)}, arrayResize(content.by_type, length({content_types:Array(String)}))),
                if({knows_sessions:UInt8}, activity.sessions_7d, NULL),
                if({knows_sessions:UInt8}, activity.sessions_28d, NULL),
                if({knows_sessions:UInt8}, activity.sessions_weighted, NULL),
                4 * activity.sessions_7d / nullIf(activity.sessions_28d, 0) - 1,
                if({knows_sessions:UInt8}, activity.active_days, NULL),
                if({knows_sessions:UInt8}, activity.engagement_7d, NULL),
                if({knows_sessions:UInt8}, activity.engagement_28d, NULL),
                if({knows_sessions:UInt8}, activity.engagement_weighted, NULL),
                activity.engagement_7d / nullIf(activity.sessions_7d, 0)
                    - activity.engagement_28d / nullIf(activity.sessions_28d, 0),
                if({knows_events:UInt8}, activity.events_7d, NULL),
                if({knows_events:UInt8}, activity.events_28d, NULL),
                if({knows_events:UInt8}, activity.events_weighted, NULL),
                4 * activity.events_7d / nullIf(activity.events_28d, 0) - 1,
                mapFromArrays({event_types:Array(String)}, arrayResize(activity.by_type, length({event_types:Array(String)}))),
                activity.time_on_page,
                activity.scroll_depth,
                if({knows_events:UInt8}, activity.unreadable, NULL)
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
                sessions_7d Nullable(UInt32),
                sessions_28d Nullable(UInt32),
                sessions_weighted Nullable(Float32),
                sessions_trend Nullable(Float32),
                active_days_28d Nullable(UInt32),
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
FROM (SELECT *, ml_features IN ('', '{}') AS unfilled FROM ({users})) AS users
ANY LEFT JOIN ({activity}) AS activity
    ON activity.person = murmurHash3_128(users.company_id, users.brand_id, users.user_id)
ANY LEFT JOIN ({content}) AS content ON content.reader = murmurHash3_128(users.brand_id, users.user_id)
