-- A year of nights of seven pipelines, up to 2026-01-31, made of numbers and hashes.
-- On 2026-01-14 churn gets a new champion, conversion loses a third of its rows, and an engagement feature moves.
-- In the last night recommendation fails.

-- grain: one run of a pipeline and night
INSERT INTO raypipe_runs (run_id, pipeline, date, model_id, model_version, status, manifest, source_rows, slices, rows_read, rows_published, rows_rejected, sequence, version, previous, published, error, timings, started_at, published_at, updated_at)
SELECT
    concat(pipeline, '_', formatDateTime(day, '%Y%m%d'), '_', lower(hex(toUInt32(cityHash64(pipeline, day) % 4294967295)))) AS run_id,
    pipeline,
    day AS date,
    toString(UUIDNumToString(murmurHash3_128('model', pipeline, model_version))) AS model_id,
    multiIf(pipeline = 'churn' AND day >= '2026-01-14', '20260114.030000.bbbbbb', pipeline IN ('recommendation', 'segmentation'), concat(formatDateTime(day, '%Y%m%d'), '.020000.', lower(leftPad(hex(toUInt16(cityHash64(pipeline, day) % 65535)), 6, '0'))), '20250201.030000.aaaaaa') AS model_version,
    multiIf(pipeline = 'recommendation' AND day = '2026-01-31', 'FAILED', pipeline = 'conversion' AND cityHash64(day) % 97 = 0, 'REFUSED', 'PUBLISHED') AS status,
    '{}' AS manifest,
    toUInt64((40000 + 200 * cityHash64(pipeline, day) % 7) * multiIf(pipeline = 'conversion' AND day >= '2026-01-14', 0.65, pipeline = 'ads', 0.0005, 1.0) * (1 + 0.1 * sin(n / 58))) AS source_rows,
    4 AS slices,
    source_rows AS rows_read,
    source_rows - rows_rejected AS rows_published,
    cityHash64(day, pipeline, 'r') % 11 = 0 ? 3 : 0 AS rows_rejected,
    n * 10 + 1 AS sequence,
    (n * 10 + 1) * 1048576 AS version,
    '{}' AS previous,
    '{}' AS published,
    multiIf(status = 'FAILED', 'The server ran out of memory while it read slice 3 (found: 9.31 GiB; next step: fewer actors, score.actors.max)', status = 'REFUSED', 'The rows of the source are 31 % fewer than usual (found: 27,120; allowed: 35,000 or more)', '') AS error,
    toJSONString(map('read', 4.1 + (cityHash64(day, 1) % 100) / 50, 'predict', 1.2, 'publish', 2.5)) AS timings,
    toDateTime64(day, 6, 'UTC') + INTERVAL 27 HOUR + INTERVAL (indexOf(pipelines, pipeline) * 90) SECOND AS started_at,
    status = 'PUBLISHED' ? started_at + INTERVAL (20 + cityHash64(pipeline, day) % 25) SECOND : toDateTime64(0, 6, 'UTC') AS published_at,
    started_at + INTERVAL (20 + cityHash64(pipeline, day) % 25) SECOND AS updated_at
FROM
(
    SELECT number AS n, toDate('2025-02-01') + number AS day, ['ads', 'churn', 'clicks', 'conversion', 'engagement', 'recommendation', 'segmentation'] AS pipelines
    FROM numbers(365)
)
ARRAY JOIN pipelines AS pipeline;

-- grain: one version of a model; recommendation and segmentation are fitted every night
INSERT INTO ml_model_registry (model_id, model_name, model_code, model_version, model_type, domain, algorithm, metadata, evaluation_dataset_metrics, model_status, is_latest_version, created_at, updated_at)
SELECT
    toString(UUIDNumToString(murmurHash3_128('model', pipeline, model_version))), concat(pipeline, ' ', model_version), pipeline, model_version, 'classification', pipeline, 'xgboost',
    toJSONString(map('artifact_sha256', 'aa', 'contract_sha256', 'bb')),
    multiIf(
        pipeline = 'engagement', concat('{"test": {"kind": "number", "rows": 9000, "rmse": {"value": 11.2, "low": 11.0, "high": 11.5}, "mae": {"value": 8.1, "low": 8.0, "high": 8.3}, "r2": {"value": 0.41, "low": 0.39, "high": 0.43}}, "decision": {"promote": true, "reason": "better than the strongest baseline", "metric": "rmse"}}'),
        pipeline = 'recommendation', concat('{"test": {"rows": 9000, "ndcg": {"value": ', toString(0.21 + (cityHash64(model_version) % 100) / 5000), ', "low": 0.20, "high": 0.24}, "recall": {"value": 0.31, "low": 0.30, "high": 0.33}, "coverage": {"value": 0.44}}, "decision": {"promote": true, "reason": "better than popularity", "metric": "ndcg"}}'),
        pipeline = 'segmentation', concat('{"test": {"rows": 9000, "silhouette": {"value": ', toString(0.28 + (cityHash64(model_version) % 100) / 8000), ', "low": 0.27, "high": 0.31}}, "decision": {"promote": true, "reason": "k 5 as before", "metric": "silhouette"}}'),
        concat('{"test": {"kind": "binary", "rows": 9000, "positives": 2100, "threshold": 0.4, "auc": {"value": 0.812, "low": 0.803, "high": 0.821}, "log_loss": {"value": 0.43, "low": 0.42, "high": 0.44}, "brier": {"value": 0.14, "low": 0.137, "high": 0.144}, "precision": {"value": 0.61, "low": 0.59, "high": 0.63}, "recall": {"value": 0.55, "low": 0.53, "high": 0.57}, "ece": {"value": 0.012}, "reliability": [', arrayStringConcat(arrayMap(b -> concat('{"from": ', toString(b / 10), ', "to": ', toString((b + 1) / 10), ', "rows": ', toString(2000 - b * 180), ', "predicted": ', toString((b + 0.5) / 10), ', "observed": ', toString(least(1, (b + 0.4) / 10.5)), '}'), range(10)), ','), ']}, "decision": {"promote": true, "reason": "better than the champion by 0.008 (0.003 to 0.013)", "metric": "auc"}}')
    ),
    if(model_version = '20250201.030000.aaaaaa' AND pipeline = 'churn', 'ARCHIVED', 'PRODUCTION'), 1, started_at, started_at
FROM (SELECT DISTINCT pipeline, model_version, min(started_at) AS started_at FROM raypipe_runs FINAL GROUP BY pipeline, model_version);

-- grain: one change of the champion
INSERT INTO raypipe_aliases (pipeline, alias, model_id, model_version, set_by, reason, set_at)
SELECT model_code, 'champion', model_id, model_version, 'raypipe fit', JSONExtractString(evaluation_dataset_metrics, 'decision', 'reason'), created_at
FROM ml_model_registry FINAL;

-- grain: one feature of a champion
INSERT INTO ml_model_features (feature_id, model_id, feature_name, feature_code, feature_type, description, feature_importance, feature_rank)
SELECT toString(generateUUIDv4()), model_id, feature, feature, 'number', concat('Of the last 30 days, ', replaceAll(feature, '_', ' '), '.'), 1 / rank, rank
FROM (SELECT model_id FROM ml_model_registry FINAL WHERE model_code NOT IN ('recommendation', 'segmentation', 'ads'))
ARRAY JOIN ['days_since_last_session', 'sessions_weighted', 'avg_engagement_score', 'tenure_days', 'content_views', 'clicks_per_view', 'active_days_share', 'total_sessions', 'avg_session_duration_sec', 'current_subscription_tier=free', 'current_subscription_tier=premium', 'newsletter_signup_rate'] AS feature, arrayEnumerate([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]) AS rank;

-- grain: one column of a run, beside the night before
INSERT INTO raypipe_drift_rows
    (pipeline, date, run_id, model_id, model_version, reference, reference_date, reference_run_id, column, feature, slice_column, slice_value, rows, reference_rows, psi, status, reason)
SELECT
    pipeline, date, run_id, model_id, model_version, 'night', date - 1, '', column, column, '', '', rows_read, rows_read,
    multiIf(column = 'newsletter_signups', NULL, moved, 0.31 + (cityHash64(date, column) % 100) / 400, column = 'tenure_days' AND cityHash64(date, pipeline) % 29 = 0, 0.13, (cityHash64(date, column, pipeline) % 1000) / 25000) AS psi,
    multiIf(isNull(psi), 'not_compared', psi >= 0.25, 'alert', psi >= 0.1, 'warning', 'ok') AS status,
    if(isNull(psi), 'missing at the fit', '') AS reason
FROM
(
    SELECT *, column, pipeline IN ('churn', 'engagement') AND column IN ('avg_engagement_score', 'score') AND date BETWEEN '2026-01-14' AND '2026-01-15' AS moved
    FROM raypipe_runs FINAL
    ARRAY JOIN arrayConcat(['score', 'days_since_last_session', 'sessions_weighted', 'avg_engagement_score', 'tenure_days', 'content_views', 'clicks_per_view', 'active_days_share', 'total_sessions', 'avg_session_duration_sec', 'newsletter_signups'], arrayMap(i -> concat('feature_', toString(i)), range(40))) AS column
    WHERE status = 'PUBLISHED' AND pipeline != 'ads'
);

-- grain: a column of a slice in a run, beside the night before and the same weekday: about a thousand series
INSERT INTO raypipe_drift_rows
    (pipeline, date, run_id, model_id, model_version, reference, reference_date, reference_run_id, column, feature, slice_column, slice_value, rows, reference_rows, psi, status, reason)
SELECT
    pipeline, date, run_id, model_id, model_version, reference, date - 1, '', column, column, slice.1, slice.2, 900, 900,
    if(pipeline = 'churn' AND date >= '2026-01-31' AND slice.1 = 'preferred_device_type_id' AND column = 'score', 0.34, (cityHash64(date, slice.2, column, pipeline) % 1000) / 25000) AS psi, psi >= 0.25 ? 'alert' : 'ok', ''
FROM (SELECT *, arrayJoin(['night', 'weekday']) AS reference FROM raypipe_runs FINAL WHERE status = 'PUBLISHED' AND pipeline IN ('churn', 'conversion', 'engagement'))
ARRAY JOIN arrayConcat((SELECT groupArray(('brand_id', brand_id)) FROM brands FINAL), (SELECT groupArray(('preferred_device_type_id', device_type_id)) FROM device_types FINAL), (SELECT groupArray(('primary_country_code', country_code)) FROM countries FINAL)) AS slice
ARRAY JOIN arrayConcat(['score'], arrayMap(i -> concat('feature_', toString(i)), range(59))) AS column;

-- grain: one expectation of a planned run
INSERT INTO raypipe_checks (pipeline, date, run_id, check, column, found, allowed, status, reason)
VALUES
    ('conversion', '2026-01-09', '', 'volume', '', '27,120', '35,000 or more', 'refused', 'the rows of the source are 31 % fewer than usual'),
    ('churn', '2026-01-31', '', 'missing', 'preferred_city_id', '12 %', 'at most 10 %', 'warning', ''),
    ('churn', '2026-01-31', '', 'range', 'avg_engagement_score', '0 to 100', '0 to 100', 'ok', '');

-- grain: one metric of a date, for all rows or a slice
INSERT INTO raypipe_performance (pipeline, date, kind, run_id, model_version, slice_column, slice_value, metric, value, low, high, rows, positives, reason)
SELECT
    pipeline, date, kind, run_id, model_version, slice.1, slice.2, metric.1,
    metric.2 + slice.3 * metric.3 + (kind = 'estimated' ? 0.004 : 0) + (cityHash64(date, pipeline, slice.2, metric.1) % 100) * metric.3 / 2000 - (pipeline = 'churn' AND metric.1 = 'auc' AND date > '2025-12-10' ? 0.03 : 0) AS value,
    value - abs(metric.3) / 8 * (slice.1 = '' ? 1 : 2), value + abs(metric.3) / 8 * (slice.1 = '' ? 1 : 2), slice.1 = '' ? 40000 : 9000, 9000, ''
FROM
(
    SELECT *, if(date <= '2026-01-01', 'measured', 'estimated') AS kind,
        arrayJoin(pipeline = 'engagement' ? [('rmse', 11.2, -1.0), ('mae', 8.1, -0.6)] : [('auc', 0.81, 0.1), ('log_loss', 0.43, -0.05), ('brier', 0.14, -0.02), ('precision', 0.61, 0.1), ('recall', 0.55, 0.1), ('ece', 0.015, -0.01)]) AS metric
    FROM raypipe_runs FINAL
    WHERE status = 'PUBLISHED' AND pipeline IN ('churn', 'conversion', 'engagement')
)
ARRAY JOIN arrayConcat([('', '', 0.0)], (SELECT groupArray(('brand_id', brand_id, (cityHash64(brand_id) % 10) / 30 - 0.15)) FROM brands FINAL), (SELECT groupArray(('device_type_id', device_type_id, (cityHash64(device_type_id) % 10) / 40 - 0.1)) FROM device_types FINAL), [('country_code', 'XX', 0.02), ('current_subscription_tier', 'free', -0.02), ('current_subscription_tier', 'premium', 0.05)]) AS slice;

-- grain: one validated batch of churn
INSERT INTO ml_model_monitoring (monitoring_id, model_id, monitoring_date, monitoring_start_time, monitoring_end_time, metadata)
SELECT
    toString(generateUUIDv4()), model_id, date, started_at, started_at,
    concat('{"kind": "validation", "validates": "', run_id, '", "pipeline": "churn", "date": "', toString(date), '", "until": "', toString(date + 30), '", "evaluation": {"rows": 40000, "auc": {"value": 0.779, "low": 0.771, "high": 0.787}, "reliability": [', arrayStringConcat(arrayMap(b -> concat('{"from": ', toString(b / 10), ', "to": ', toString((b + 1) / 10), ', "rows": ', toString(8000 - b * 760), ', "predicted": ', toString((b + 0.5) / 10), ', "observed": ', toString((b + 0.9) / 11.5), '}'), range(10)), ','), ']}, "fitted": {"auc": {"value": 0.812, "low": 0.803, "high": 0.821}}, "lost": 0.033, "worse": true, "reason": ""}')
FROM raypipe_runs FINAL
WHERE pipeline = 'churn' AND date BETWEEN '2025-12-20' AND '2026-01-01';

-- grain: one episode of an alert
INSERT INTO raypipe_alerts (alert_id, rule, pipeline, metric, subject, slice_column, slice_value, severity, status, value, message, dates, opened_at, resolved_at)
VALUES
    ('a1', 'drift', 'churn', 'psi', 'avg_engagement_score', '', '', 'warning', 'resolved', 0.41, 'avg engagement score moved: PSI 0.41, limit 0.25', ['2026-01-14', '2026-01-15'], '2026-01-15 03:10:00', '2026-01-16 03:10:00'),
    ('a2', 'performance', 'churn', 'auc', '', '', '', 'critical', 'open', 0.779, 'AUC 0.779 for the predictions of 2026-01-01, 0.812 at the fit', ['2026-01-30', '2026-01-31'], '2026-01-31 03:10:00', '1970-01-01 00:00:00');

-- grain: one metric and arm of an experiment on a day
INSERT INTO ml_model_ab_tests (test_id, test_name, test_code, model_a_id, model_b_id, test_start_date, test_end_date, test_status, model_a_predictions, model_b_predictions, model_a_metric, model_b_metric, winning_model_id, created_by, metadata)
SELECT
    toString(murmurHash3_64(day, metric)), concat('headline ', metric), 'headline', 'old', 'new', '2026-01-05', day, if(n >= 20, 'COMPLETED', 'RUNNING'), 900 * (n + 1), 905 * (n + 1), base, base * (1 + lift), if(n >= 20 AND metric = 'clicked', 'new', ''), 'raypipe abtest',
    concat('{"metric": "', metric, '", "kind": "proportion", "arm": "new", "control": "old", "arm_value": ', toString(base * (1 + lift)), ', "difference": {"value": ', toString(base * lift), ', "low": ', toString(base * (lift - half)), ', "high": ', toString(base * (lift + half)), '}, "relative": {"value": ', toString(lift), ', "low": ', toString(lift - half), ', "high": ', toString(lift + half), '}, "verdict": "', if(lift - half > 0, 'better', 'undecided'), '", "decision": "', if(n >= 20, 'Take new: clicked is better than with old.', 'Go on for about 9 more days: clicked is open.'), '", "warnings": []}')
FROM
(
    SELECT number AS n, toDate('2026-01-05') + number AS day, arrayJoin(['clicked', 'subscribed']) AS metric, metric = 'clicked' ? 0.12 : 0.02 AS base,
        (metric = 'clicked' ? 0.06 : 0.01) + (cityHash64(number, metric) % 100) / 100 * 0.2 / (number + 2) AS lift, 0.22 / sqrt(number + 1) AS half
    FROM numbers(27)
);

-- grain: one prediction of the last night; names with markup must stay text
INSERT INTO ml_model_predictions (prediction_id, model_id, prediction_type, entity_id, entity_type, prediction_value, prediction_probability, prediction_class, prediction_date, predicted_at, brand_id, company_id, batch_id, metadata)
SELECT
    toString(generateUUIDv4()), run.model_id, run.pipeline, feature.user_id, 'user', score, score, multiIf(score < 0.3, 'low', score < 0.5, 'medium', score < 0.7, 'high', 'critical'), run.date, toDateTime(run.started_at), feature.brand_id, feature.company_id, run.run_id, '{}'
FROM (SELECT *, pow((cityHash64(user_id, brand_id) % 10000) / 10000, 2) AS score FROM customer_user_features WHERE feature_date = '2026-01-31') AS feature
CROSS JOIN (SELECT * FROM raypipe_runs FINAL WHERE date = '2026-01-31' AND pipeline IN ('churn', 'conversion', 'engagement')) AS run;

-- grain: one explained prediction of churn
INSERT INTO customer_churn_predictions (prediction_id, user_id, company_id, brand_id, prediction_date, churn_probability, churn_risk_level, model_version, feature_importance, created_at)
SELECT
    prediction_id, entity_id, company_id, brand_id, prediction_date, prediction_probability, prediction_class, '20260114.030000.bbbbbb',
    '{"days_since_last_session": 1.21, "sessions_weighted": 0.64, "avg_engagement_score": -0.31, "tenure_days": 0.12, "content_views": -0.05}', predicted_at
FROM ml_model_predictions
WHERE prediction_type = 'churn';

-- grain: one segment of a brand
INSERT INTO customer_user_segments (segment_id, company_id, brand_id, segment_name, segment_code, cluster_number, description, user_count, avg_engagement_score, avg_sessions, avg_duration_sec, newsletter_signup_rate, is_active)
SELECT
    UUIDNumToString(murmurHash3_128('segment', brand.company_id, brand.brand_id, toUInt16(c))), brand.company_id, brand.brand_id,
    ['comes often, many pages', 'comes rarely, short visits', 'was here lately, one topic', 'long away', 'highly engaged'][c], concat('segment_0', toString(c)), c,
    concat('A group of readers: ', ['sessions per week 6.1, pages 9.2', 'sessions per week 0.4, pages 1.2', 'one topic', 'away for 40 days', 'engagement 81'][c]), 900 * c, 20 * c, 11 * c, 90 * c, c / 20, 1
FROM brands AS brand FINAL
ARRAY JOIN [1, 2, 3, 4, 5] AS c;

-- grain: one assignment of a reader and night, of the last 92 nights
INSERT INTO customer_user_segment_assignments (assignment_id, user_id, company_id, brand_id, segment_id, assignment_date, confidence_score, model_version, is_current, created_at)
SELECT
    toString(cityHash64(feature.user_id, run.run_id)), feature.user_id, feature.company_id, feature.brand_id,
    UUIDNumToString(murmurHash3_128('segment', feature.company_id, feature.brand_id, toUInt16(1 + (cityHash64(feature.user_id) + intDiv(toUInt32(run.date), 30)) % 5))), run.date, 0.8, run.model_version, 0, toDateTime(run.started_at, 'UTC')
FROM customer_user_features AS feature
CROSS JOIN (SELECT * FROM raypipe_runs FINAL WHERE pipeline = 'segmentation' AND date > '2025-11-01') AS run
WHERE feature.feature_date = '2026-01-31';

-- grain: one recommended article of the last published night
INSERT INTO customer_recommendations (recommendation_id, user_id, company_id, brand_id, article_id, recommendation_type, recommendation_score, rank_position, model_version, created_at)
SELECT
    toString(cityHash64(feature.user_id, article.article_id)), feature.user_id, feature.company_id, feature.brand_id, article.article_id, if(article.position = 1, 'popular', 'personal'), 1 / article.position, article.position, run.model_version, toDateTime(run.started_at, 'UTC')
FROM customer_user_features AS feature
CROSS JOIN (SELECT article_id, row_number() OVER (ORDER BY publish_time DESC, article_id) AS position FROM editorial_articles FINAL ORDER BY publish_time DESC, article_id LIMIT 30) AS article
CROSS JOIN (SELECT * FROM raypipe_runs FINAL WHERE pipeline = 'recommendation' AND date = '2026-01-30') AS run
WHERE feature.feature_date = '2026-01-31' AND (cityHash64(feature.user_id, article.article_id) % 3 = 0);
