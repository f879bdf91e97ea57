-- grain: (setting), the parameters of the demo; (day); (device, arm)
-- parameters: seed UInt64, users UInt64, first_date Date, last_date Date, drift_on Date (1970-01-01: none)
INSERT INTO demo_settings
SELECT pair.1, pair.2
FROM
(
    SELECT arrayJoin([
        ('seed', toString({seed:UInt64})),
        ('users', toString({users:UInt64})),
        ('first_date', toString({first_date:Date})),
        ('last_date', toString({last_date:Date})),
        ('drift_on', if({drift_on:Date} = toDate(0), '', toString({drift_on:Date}))),
        ('drift_engagement_factor', '0.75'),
        ('drift_mobile_share', '0.35')
    ]) AS pair
);

-- The week: a weekend reader hardly visits on other days. The weights of a week add up to 7.
INSERT INTO demo_days
SELECT
    {first_date:Date} + number AS day,
    [1.15, 1.15, 1.12, 1.10, 1.05, 0.65, 0.78][toDayOfWeek(day)] AS weight,
    [0.20, 0.20, 0.20, 0.20, 0.50, 2.90, 2.80][toDayOfWeek(day)] AS weekend_weight,
    {drift_on:Date} != toDate(0) AND day >= {drift_on:Date} AS drifted
FROM numbers(toUInt64({last_date:Date} - {first_date:Date} + 1));

-- The best arm differs by device, and the arm that is shown most is not the best.
INSERT INTO demo_arms
SELECT
    cell.1 AS device,
    UUIDNumToString(murmurHash3_128('device', toUInt64(device))) AS device_type_id,
    cell.2 AS arm,
    cell.3 AS propensity,
    cell.4 AS click_rate,
    cell.5 AS revenue_per_click,
    click_rate * revenue_per_click AS revenue_per_impression
FROM
(
    SELECT arrayJoin([
        (1, 'banner', 0.40, 0.020, 0.50), (1, 'native', 0.30, 0.060, 0.40), (1, 'video', 0.20, 0.015, 1.20), (1, 'newsletter', 0.10, 0.030, 0.30),
        (2, 'banner', 0.40, 0.030, 0.50), (2, 'native', 0.30, 0.035, 0.40), (2, 'video', 0.20, 0.030, 1.20), (2, 'newsletter', 0.10, 0.040, 0.30),
        (3, 'banner', 0.40, 0.025, 0.50), (3, 'native', 0.30, 0.030, 0.40), (3, 'video', 0.20, 0.010, 1.20), (3, 'newsletter', 0.10, 0.070, 0.30)
    ]) AS cell
);
