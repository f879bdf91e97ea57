-- grain: (column, slice), the night before the last accepted night, and the usual moves in two nights up to it
-- parameters: pipeline String, date Date, since Date (the first date), version String, score String (its column), nights UInt32 (the fewest)
-- units: mean in the column's unit, missing as a share; the usual moves are root mean squares
-- why: the means of two versions are a little apart, as each has its own bins, so the score and the slices begin anew
SELECT
    column,
    slice_column,
    slice_value,
    nights[-2].1 AS night_before,
    nights[-2].2 AS mean,
    nights[-2].3 AS missing,
    sqrt(arrayAvg((now, then) -> pow(now.2 - then.2, 2), arraySlice(earlier, 3), arraySlice(earlier, 1, length(earlier) - 2))) AS mean_move,
    sqrt(arrayAvg((now, then) -> pow(now.3 - then.3, 2), arraySlice(earlier, 3), arraySlice(earlier, 1, length(earlier) - 2))) AS missing_move
FROM
(
    SELECT column, slice_column, slice_value, arraySort(groupArray((date, mean, missing))) AS nights, arrayPopBack(nights) AS earlier
    FROM
    (
        SELECT
            date,
            column,
            slice_column,
            slice_value,
            arraySum((known, value) -> known * value, arrayPopBack(counts), means) / arraySum(arrayPopBack(counts)) AS mean,
            counts[-1] / arraySum(counts) AS missing
        FROM raypipe_histograms FINAL
        WHERE pipeline = {pipeline:String} AND date >= {since:Date} AND date < {date:Date}
            AND (model_version = {version:String} OR (column != {score:String} AND slice_column = ''))
            AND (date, run_id) IN
            (
                SELECT date, argMax(run_id, sequence)
                FROM raypipe_runs FINAL
                WHERE pipeline = {pipeline:String} AND status = 'PUBLISHED'
                GROUP BY date
            )
    )
    GROUP BY column, slice_column, slice_value
    HAVING count() >= {nights:UInt32}
)
ORDER BY column, slice_column, slice_value
