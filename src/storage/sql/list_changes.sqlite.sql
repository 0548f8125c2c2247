-- Lists the changes of an organization after a revision, in the order of their revisions. Changes nothing.
--
-- Parameters
--   ?1  blob     organization
--   ?2  integer  the revision before the first change
--   ?3  integer  the most changes
--   ?4  integer  the most bytes of all changes, as estimated below; the first change is listed whatever its size
--
-- Result: one row for each change, or a single row without a change if there is none
--   history  blob, the history that the revisions belong to; the same in all rows
--   head     the newest revision, read in the same snapshot; the same in all rows
--   revision, at, kind, api_key_id, operator, request_id and the lists of ids, as in the table
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
--
-- An id takes 16 bytes in the table and at most 3 times as much in a message; the rest of a change takes at most 400 bytes there.
WITH head AS MATERIALIZED (
    SELECT
        (SELECT history.id FROM history) AS history,
        coalesce(
            (
                SELECT log.revision
                FROM change_log AS log
                WHERE log.organization_id = ?1
                ORDER BY log.revision DESC
                LIMIT 1
            ),
            0
        ) AS revision
),
page AS MATERIALIZED (
    SELECT
        sized.revision,
        row_number() OVER (ORDER BY sized.revision) AS position,
        sum(sized.bytes) OVER (ORDER BY sized.revision) AS bytes
    FROM (
        SELECT
            log.revision,
            400 + 3 * (
                coalesce(length(log.customers_created), 0)
                + coalesce(length(log.customers_updated), 0)
                + coalesce(length(log.customers_deleted), 0)
                + coalesce(length(log.devices_created), 0)
                + coalesce(length(log.devices_updated), 0)
                + coalesce(length(log.devices_deleted), 0)
                + coalesce(length(log.assigned_customers), 0)
                + coalesce(length(log.assigned_devices), 0)
                + coalesce(length(log.unassigned_customers), 0)
                + coalesce(length(log.unassigned_devices), 0)
            ) AS bytes
        FROM change_log AS log
        WHERE log.organization_id = ?1 AND log.revision > ?2
        ORDER BY log.revision
        LIMIT ?3
    ) AS sized
)
SELECT
    head.history,
    head.revision AS head,
    log.revision,
    log.at,
    log.kind,
    log.api_key_id,
    log.operator,
    log.request_id,
    log.customers_created,
    log.customers_updated,
    log.customers_deleted,
    log.devices_created,
    log.devices_updated,
    log.devices_deleted,
    log.assigned_customers,
    log.assigned_devices,
    log.unassigned_customers,
    log.unassigned_devices
FROM head
LEFT JOIN page ON page.position = 1 OR page.bytes <= ?4
LEFT JOIN change_log AS log ON log.organization_id = ?1 AND log.revision = page.revision
ORDER BY log.revision;
