-- Finds the newest revision of each organization that somebody follows. Not part of a call, so that it may concern several
-- organizations.
--
-- Parameters
--   ?1  text  organizations, ids in hexadecimal: [[organization], ...]
--
-- Result: one row for each organization
--   history          blob, the history that the revisions belong to; the same in all rows
--   organization_id  blob
--   revision         integer, 0 if nothing has ever changed
--
-- In sqlite3 (3.41 or later): .parameter set ?1 '[["0190..."]]', then this file.
SELECT
    (SELECT history.id FROM history) AS history,
    unhex(followed.value ->> 0) AS organization_id,
    coalesce(
        (
            SELECT log.revision
            FROM change_log AS log
            WHERE log.organization_id = unhex(followed.value ->> 0)
            ORDER BY log.revision DESC
            LIMIT 1
        ),
        0
    ) AS revision
FROM json_each(?1) AS followed;
