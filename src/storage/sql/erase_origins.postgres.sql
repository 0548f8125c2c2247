-- Empties the operators and the request ids of old changes.
--
-- Parameters
--   $1  uuid    organization
--   $2  bigint  the revision before the first of these changes
--   $3  bigint  the revision of the last
--
-- In psql: PREPARE erase_origins (uuid, bigint, bigint) AS, then this file.
UPDATE change_log
SET operator = NULL, request_id = NULL
WHERE organization_id = $1
    AND revision > $2
    AND revision <= $3
    AND (operator IS NOT NULL OR request_id IS NOT NULL);
