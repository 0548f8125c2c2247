-- Finds the newest revision of each organization that somebody follows. Not part of a call, so that it may concern several
-- organizations.
--
-- Parameters
--   $1  uuid[]  organizations
--
-- Result: one row for each organization
--   history          uuid, the history that the revisions belong to; the same in all rows
--   organization_id  uuid
--   revision         bigint, 0 if nothing has ever changed
--
-- In psql: PREPARE find_heads (uuid[]) AS, then this file.
SELECT
    (SELECT history.id FROM history) AS history,
    followed.id AS organization_id,
    coalesce(
        (
            SELECT log.revision
            FROM change_log AS log
            WHERE log.organization_id = followed.id
            ORDER BY log.revision DESC
            LIMIT 1
        ),
        0
    ) AS revision
FROM unnest($1::uuid[]) AS followed (id);
