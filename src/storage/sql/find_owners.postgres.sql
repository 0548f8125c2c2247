-- Looks up devices by their identifiers, with their owners. Changes nothing.
--
-- Parameters
--   $1  uuid    organization
--   $2  bigint  the most owners of each device
--   $3  text[]  identifiers of devices; one may be repeated
--
-- Result: one row for each owner, or a single row without an owner for a device that has none; by identifier in the order of the
-- parameter, and by the id of the owner
--   revision     bigint, the revision that all this was read at; the same in all rows
--   n            bigint, the position of the identifier, starting at 1
--   device_id    uuid, null if there is no such device
--   device_type  text
--   customer_id  uuid, null if the device has no owner
--   email        text
--   assigned_at  timestamptz
--
-- In psql: PREPARE find_owners (uuid, bigint, text[]) AS, then this file.
--
-- Each row is looked up by its own subquery, because the planner may turn a join into anything that its statistics suggest.
SELECT
    head.revision,
    named.n,
    device.id AS device_id,
    device.device_type,
    owner.customer_id,
    (
        SELECT customer.email
        FROM customer
        WHERE customer.organization_id = $1 AND customer.id = owner.customer_id
    ) AS email,
    owner.created_at AS assigned_at
FROM (
    SELECT coalesce(
        (
            SELECT log.revision
            FROM change_log AS log
            WHERE log.organization_id = $1
            ORDER BY log.revision DESC
            LIMIT 1
        ),
        0
    ) AS revision
) AS head
CROSS JOIN unnest($3::text[]) WITH ORDINALITY AS named (identifier, n)
LEFT JOIN LATERAL (
    SELECT known.id, known.device_type
    FROM device AS known
    WHERE known.organization_id = $1 AND known.identifier = named.identifier
    OFFSET 0
) AS device ON true
LEFT JOIN LATERAL (
    SELECT a.customer_id, a.created_at
    FROM device_assignment AS a
    WHERE a.organization_id = $1 AND a.device_id = device.id
    ORDER BY a.customer_id
    LIMIT $2
) AS owner ON true
ORDER BY named.n, owner.customer_id;
