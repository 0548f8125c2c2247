-- Finds the newest revision of an organization that somebody follows. On Citus, which would not find several with one index row
-- each.
--
-- Parameters
--   $1  uuid  organization
--
-- Result: one row
--   history          uuid, the history that the revision belongs to
--   organization_id  uuid
--   revision         bigint, 0 if nothing has ever changed
--
-- In psql: PREPARE find_heads (uuid) AS, then this file.
SELECT
    (SELECT history.id FROM history) AS history,
    $1::uuid AS organization_id,
    coalesce(
        (
            SELECT log.revision
            FROM change_log AS log
            WHERE log.organization_id = $1
            ORDER BY log.revision DESC
            LIMIT 1
        ),
        0
    ) AS revision;
