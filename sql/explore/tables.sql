-- grain: one table, view or dictionary of the database
-- parameters: database String
-- units: compressed bytes as the engine reports them; NULL if it cannot tell without reading
SELECT name, comment, total_rows, total_bytes
FROM system.tables
WHERE database = {database:String} AND NOT is_temporary
ORDER BY name
