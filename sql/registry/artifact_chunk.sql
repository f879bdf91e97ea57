-- grain: one file of an artifact that has a chunk of this number
-- parameters: sha256 String (of the artifact's manifest), chunk UInt32 (from 0 on)
-- units: chunks of a few MB. A second upload of the same files has the same rows again until parts are merged.
SELECT file, bytes
FROM raypipe_artifacts
WHERE artifact_sha256 = {sha256:String} AND chunk = {chunk:UInt32}
ORDER BY file, written_at DESC
LIMIT 1 BY file
