-- grain: one table of the database that has active parts
-- parameters: database String
-- units: bytes on disk, compressed and not; written_at in UTC
SELECT
    table,
    sum(bytes_on_disk) AS bytes,
    sum(data_uncompressed_bytes) AS bytes_uncompressed,
    count() AS parts,
    toDateTime(max(modification_time), 'UTC') AS written_at
FROM system.parts
WHERE database = {database:String} AND active
GROUP BY table
