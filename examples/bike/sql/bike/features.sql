-- grain: hour_id
-- parameters: none (the table has no snapshots)
-- placeholders: slice (a predicate on the sorting key of bike_hours)
-- units: weather as shares of the highest value of the station
SELECT
    hour_id,
    season,
    year,
    month,
    hour,
    holiday,
    weekday,
    working_day,
    weather,
    temperature,
    felt_temperature,
    humidity,
    wind_speed
FROM bike_hours
WHERE {slice}
