-- grain: (cultivar, prediction_class), the published classes of a run against the known cultivars
-- parameters: run_id String
-- units: mean_probability is the mean probability of the predicted class
SELECT
    known.cultivar AS cultivar,
    prediction_class,
    count() AS wines,
    round(avg(prediction_probability), 4) AS mean_probability,
    round(avg(JSONExtractFloat(metadata, 'probabilities', known.cultivar)), 4) AS mean_probability_of_the_cultivar
FROM raypipe_current_predictions AS published
ANY INNER JOIN wines AS known ON toString(known.wine_id) = published.entity_id
WHERE published.prediction_type = 'wine' AND published.batch_id = {run_id:String}
GROUP BY cultivar, prediction_class
ORDER BY cultivar, prediction_class
