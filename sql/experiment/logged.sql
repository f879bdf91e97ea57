-- grain: (context, arm, bucket), the logged actions of a context to a bucket of units
-- parameters: since Date, until Date (the day after the last), timezone String (of these days)
-- placeholders: context, action, propensity, reward, unit, inside (expressions), source (the table or a SELECT), where (a condition)
-- unusable: rows without a propensity above 0 and up to 1, or without a finite reward
-- bucket: a hash of the unit, so that all rows of a unit share a bucket
-- why the prefix: the inner names must differ from the columns of the table
SELECT
    raypipe_context AS context,
    raypipe_arm AS arm,
    raypipe_bucket AS bucket,
    countIf(raypipe_usable) AS impressions,
    sumIf(raypipe_reward, raypipe_usable) AS revenue,
    sumIf(1 / raypipe_propensity, raypipe_usable) AS inverse,
    sumIf(1 / (raypipe_propensity * raypipe_propensity), raypipe_usable) AS inverse_squares,
    sumIf(raypipe_reward / raypipe_propensity, raypipe_usable) AS weighted_revenue,
    countIf(NOT raypipe_usable) AS unusable
FROM
(
    SELECT
        {context} AS raypipe_context,
        ifNull(toString({action}), '') AS raypipe_arm,
        cityHash64({unit}) % 200 AS raypipe_bucket,
        ifNull(toFloat64({propensity}), nan) AS raypipe_propensity,
        ifNull(toFloat64({reward}), nan) AS raypipe_reward,
        raypipe_propensity > 0 AND raypipe_propensity <= 1 AND isFinite(raypipe_reward) AS raypipe_usable
    FROM {source}
    WHERE ({where}) AND {inside}
)
GROUP BY context, arm, bucket
