-- grain: one column of the database
-- parameters: database String
-- units: bytes on disk, compressed
SELECT table, name, data_compressed_bytes
FROM system.columns
WHERE database = {database:String}
