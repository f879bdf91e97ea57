-- grain: cell, the predictions with the same level, label and side of the threshold whose scores differ by less than a thousandth
-- parameters: threshold Float64, and the parameters of outcomes
-- placeholders: outcomes (outcomes.sql)
-- units: tenth from 0 to 9 (the bin of the calibration table), losses in nats with probabilities at least 1e-7 away from 0 and 1
-- cost: at most some ten thousand cells, whatever the population: scores are cut to 10 of a Float32's 23 bits
SELECT
    level,
    ifNull(label, -1) AS outcome,
    if(isFinite(score), toUInt8(least(9, greatest(0, floor(10 * score)))), 0) AS tenth,
    score >= {threshold:Float64} AS positive,
    count() AS rows,
    sum(score) AS scores,
    sum(pow(score - outcome, 2)) AS squares,
    sum(-log(least(1., greatest(1e-7, if(outcome > 0.5, score, 1 - score))))) AS losses,
    min(score) AS lowest,
    max(score) AS highest
FROM ({outcomes})
GROUP BY level, outcome, tenth, positive, bitAnd(reinterpretAsUInt32(toFloat32(score)), 4294959104)
