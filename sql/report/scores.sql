-- grain: one bin of the committed scores of a run, from the lowest score on
-- parameters: pipeline String, date Date, low Float64, high Float64, bins UInt16
-- units: bins of equal width from low to high; the score's own units. A score that is not finite is in no bin
SELECT least(toUInt16(floor((prediction_value - {low:Float64}) / ({high:Float64} - {low:Float64}) * {bins:UInt16})), {bins:UInt16} - 1) AS bin, count() AS predictions
FROM raypipe_current_predictions
WHERE prediction_type = {pipeline:String} AND prediction_date = {date:Date} AND isFinite(prediction_value)
GROUP BY bin
ORDER BY bin
