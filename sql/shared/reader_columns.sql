-- grain: none of its own; the columns of a user in a report, `FROM ({include:shared/named_predictions.sql})`
total_sessions,
days_since_last_session,
avg_engagement_score,
subscription_tier,
device_type_name,
os_name,
browser_name,
country_name,
city_name,
category_name
