-- grain: one date on which a version published (drift) or on which its predictions were validated (performance), the newest first
-- parameters: model_id String, kind String (drift or performance), before Date (the night's date), many UInt8 (the most dates)
-- alerts: the names above the alert limit against the fit; 'performance' where the predictions were worse than at the fit by
-- more than noise. Earlier releases wrote only alert_types, which compared with the fit.
-- A date with several rows, as of a run that was repeated, has its latest row. Outcomes that were known only on the night itself
-- or later do not count, so that a repeated night decides as it did the first time.
SELECT
    monitoring_date,
    argMax(JSONExtract(if(JSONHas(metadata, 'since_fit'), JSONExtractRaw(metadata, 'since_fit'), alert_types), 'Array(String)'), (created_at, monitoring_id)) AS alerts
FROM ml_model_monitoring
WHERE model_id = {model_id:String}
    AND (JSONExtractString(metadata, 'kind') = 'validation') = ({kind:String} = 'performance')
    AND if({kind:String} = 'performance', toDateOrZero(JSONExtractString(metadata, 'until')), monitoring_date) < {before:Date}
GROUP BY monitoring_date
ORDER BY monitoring_date DESC
LIMIT {many:UInt8}
