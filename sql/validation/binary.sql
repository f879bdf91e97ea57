-- grain: cell, the predictions with the same slice, level, label and side of the threshold, and with scores in one narrow bin
-- parameters: threshold Float64, and the parameters of outcomes
-- placeholders: outcomes (outcomes.sql or sliced.sql), slice_column, slice_value, level (expressions), bin (an expression that rises with score)
-- units: tenth from 0 to 9 (the bin of the calibration table), losses in nats with probabilities at least 1e-7 away from 0 and 1
SELECT
    {slice_column} AS slice_column,
    {slice_value} AS slice_value,
    {level} AS level,
    ifNull(label, -1) AS outcome,
    if(isFinite(score), toUInt8(least(9, greatest(0, floor(10 * score)))), 0) AS tenth,
    score >= {threshold:Float64} AS positive,
    toInt64({bin}) AS bin,
    count() AS rows,
    sum(score) AS scores,
    sum(pow(score - outcome, 2)) AS squares,
    sum(-log(least(1., greatest(1e-7, if(outcome > 0.5, score, 1 - score))))) AS losses,
    min(score) AS lowest,
    max(score) AS highest
FROM ({outcomes})
GROUP BY slice_column, slice_value, level, outcome, tenth, positive, bin
