-- Reads the newest revision of an organization.
--
-- Parameters
--   $1  uuid  organization
--
-- Result: one row
--   revision  bigint, 0 if nothing has changed yet
--
-- In psql: PREPARE read_revision (uuid) AS, then this file.
SELECT coalesce(
    (
        SELECT log.revision
        FROM change_log AS log
        WHERE log.organization_id = $1
        ORDER BY log.revision DESC
        LIMIT 1
    ),
    0
) AS revision;
