-- The privileges that raypipe needs, as roles: an example to adapt, not run by raypipe.
--
-- parameters: replace `publisher` by your database and set the passwords. `raypipe doctor` lists the missing grants of a user.
--
-- If a server does not support wildcard grants (a prefix with a star), grant the same on publisher.* instead.
-- No role has DROP TABLE or ALTER on the publisher's own tables or on raypipe's ledger. `raypipe migrate` needs CREATE
-- TABLE on the database and is best run once by an administrator.

-- Reading: plan, explore, runs, models, doctor, and the input of fit and score. Slices are cut with the table function
-- mergeTreeIndex, which needs only SELECT on the table. system.disks and system.merge_tree_settings serve the doctor.
-- system.processes shows a user's own statements: raypipe kills its own one that got no answer before it sends it again,
-- which needs no grant of KILL QUERY. system.mutations shows when a deletion is done.
CREATE ROLE IF NOT EXISTS raypipe_reader;
GRANT SELECT ON publisher.* TO raypipe_reader;
GRANT SELECT ON system.parts TO raypipe_reader;
GRANT SELECT ON system.processes TO raypipe_reader;
GRANT SELECT ON system.mutations TO raypipe_reader;
GRANT SELECT ON system.disks TO raypipe_reader;
GRANT SELECT ON system.merge_tree_settings TO raypipe_reader;

-- On a cluster (connection.cluster): statements for every node, looks at every node, and waiting for a replica.
-- GRANT CLUSTER, REMOTE ON *.* TO raypipe_reader;
-- GRANT SYSTEM SYNC REPLICA ON publisher.* TO raypipe_reader;
-- GRANT SELECT ON system.clusters TO raypipe_reader;
-- GRANT SELECT ON system.replicas TO raypipe_reader;

-- Fitting: registers models and stores their artifacts, with a scratch table for the rows of a fit. ALTER DELETE serves
-- `raypipe models prune` and `raypipe doctor --clean`.
CREATE ROLE IF NOT EXISTS raypipe_trainer;
GRANT INSERT ON publisher.ml_model_registry TO raypipe_trainer;
GRANT INSERT ON publisher.ml_model_features TO raypipe_trainer;
GRANT INSERT ON publisher.ml_model_training_runs TO raypipe_trainer;
GRANT INSERT ON publisher.raypipe_aliases TO raypipe_trainer;
GRANT INSERT, ALTER DELETE ON publisher.raypipe_artifacts TO raypipe_trainer;
GRANT INSERT, CREATE TABLE, DROP TABLE ON publisher.raypipe_training_* TO raypipe_trainer;
GRANT TABLE ENGINE ON MergeTree TO raypipe_trainer;

-- Scoring: lock, snapshot, staging, portions of the targets, ledger, rejected rows and drift. ALTER DELETE drops the staged
-- partition of a slice that is repeated. A portion has its target's engine.
CREATE ROLE IF NOT EXISTS raypipe_sink;
GRANT CREATE TABLE, DROP TABLE ON publisher.raypipe_lock_* TO raypipe_sink;
GRANT INSERT, CREATE TABLE, DROP TABLE ON publisher.raypipe_snapshot_* TO raypipe_sink;
GRANT INSERT, CREATE TABLE, DROP TABLE, ALTER DELETE ON publisher.raypipe_staging_* TO raypipe_sink;
GRANT INSERT, CREATE TABLE, DROP TABLE ON publisher.raypipe_portion_* TO raypipe_sink;
GRANT INSERT, CREATE TABLE, DROP TABLE ON publisher.raypipe_explain_* TO raypipe_sink;
GRANT INSERT ON publisher.raypipe_runs TO raypipe_sink;
GRANT INSERT ON publisher.raypipe_slices TO raypipe_sink;
GRANT INSERT ON publisher.raypipe_rejected_rows TO raypipe_sink;
GRANT INSERT ON publisher.raypipe_histograms TO raypipe_sink;
GRANT INSERT ON publisher.raypipe_drift_rows TO raypipe_sink;
GRANT INSERT ON publisher.raypipe_checks TO raypipe_sink;
GRANT TABLE ENGINE ON MergeTree TO raypipe_sink;
GRANT TABLE ENGINE ON ReplacingMergeTree TO raypipe_sink;
GRANT TABLE ENGINE ON Null TO raypipe_sink;

-- Publishing: fills a twin of each target, then ALTER TABLE target REPLACE PARTITION (SELECT on the twin; INSERT and ALTER
-- DELETE on the target) or ALTER TABLE twin MOVE PARTITION TO TABLE target (ALTER MOVE PARTITION on the twin, INSERT on the
-- target) and a DELETE of the earlier rows (ALTER DELETE on the target). A twin has its target's engine.
-- Features of a day in a monthly partition delete the old day from a copy of the partition (ALTER DELETE on the twin).
CREATE ROLE IF NOT EXISTS raypipe_publisher;
GRANT INSERT, CREATE TABLE, DROP TABLE, ALTER DELETE, ALTER MOVE PARTITION ON publisher.raypipe_twin_* TO raypipe_publisher;
GRANT INSERT, CREATE TABLE, DROP TABLE, ALTER DELETE ON publisher.raypipe_previous_* TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.ml_model_predictions TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.customer_churn_predictions TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.customer_conversion_predictions TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.customer_recommendations TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.customer_user_segments TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.customer_user_segment_assignments TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.customer_user_features TO raypipe_publisher;
-- Monitoring, and a bandit's tests of arms; a repeated date replaces both.
GRANT INSERT, ALTER DELETE ON publisher.ml_model_monitoring TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.raypipe_performance TO raypipe_publisher;
GRANT INSERT ON publisher.raypipe_alerts TO raypipe_publisher;
GRANT INSERT, ALTER DELETE ON publisher.ml_model_ab_tests TO raypipe_publisher;
GRANT TABLE ENGINE ON MergeTree TO raypipe_publisher;
GRANT TABLE ENGINE ON ReplacingMergeTree TO raypipe_publisher;

-- Experiments: `raypipe assign` logs exposures, `raypipe abtest` writes results.
CREATE ROLE IF NOT EXISTS raypipe_experimenter;
GRANT INSERT ON publisher.raypipe_exposures TO raypipe_experimenter;
GRANT INSERT ON publisher.ml_model_ab_tests TO raypipe_experimenter;

-- Four users: for reading, for fitting, for the nightly run, and for experiments.
CREATE USER IF NOT EXISTS raypipe_analyst IDENTIFIED WITH sha256_password BY 'change me';
GRANT raypipe_reader TO raypipe_analyst;
CREATE USER IF NOT EXISTS raypipe_training IDENTIFIED WITH sha256_password BY 'change me';
GRANT raypipe_reader, raypipe_trainer TO raypipe_training;
CREATE USER IF NOT EXISTS raypipe_nightly IDENTIFIED WITH sha256_password BY 'change me';
GRANT raypipe_reader, raypipe_trainer, raypipe_sink, raypipe_publisher TO raypipe_nightly;
CREATE USER IF NOT EXISTS raypipe_experiments IDENTIFIED WITH sha256_password BY 'change me';
GRANT raypipe_reader, raypipe_experimenter TO raypipe_experiments;
