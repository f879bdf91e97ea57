-- grain: hour_id, an hour of 2011 or 2012
-- parameters: none
-- units: weather as shares of the highest value of the station; rentals per hour
CREATE TABLE bike_hours
(
    hour_id UInt32,
    season UInt8,
    year UInt8,
    month UInt8,
    hour UInt8,
    holiday UInt8,
    weekday UInt8,
    working_day UInt8,
    weather UInt8,
    temperature Float64,
    felt_temperature Float64,
    humidity Float64,
    wind_speed Float64,
    rentals UInt16
)
ENGINE = MergeTree
ORDER BY hour_id
