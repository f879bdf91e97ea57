-- grain: one table, view or dictionary of the database
-- parameters: database String
-- units: bytes as the engine tells them, compressed; NULL where it cannot tell without reading
SELECT name, comment, total_rows, total_bytes
FROM system.tables
WHERE database = {database:String} AND NOT is_temporary
ORDER BY name
