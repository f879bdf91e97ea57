-- grain: one artifact of the table, also of an interrupted upload
-- parameters: sha256 String ('' for every artifact)
-- units: bytes; microseconds since 1970 of the newest row
SELECT artifact_sha256, sum(size) AS bytes, toUnixTimestamp64Micro(max(written_at)) AS written
FROM raypipe_artifacts FINAL
WHERE {sha256:String} = '' OR artifact_sha256 = {sha256:String}
GROUP BY artifact_sha256
ORDER BY artifact_sha256
