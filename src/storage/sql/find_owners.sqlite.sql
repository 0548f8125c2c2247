-- Looks up devices by their identifiers, with their owners. Changes nothing.
--
-- Parameters
--   ?1  blob     organization
--   ?2  integer  the most owners of each device
--   ?3  text     a JSON array of arrays: [identifier of a device], …; one may be repeated
--
-- Result: one row for each owner, or a single row without an owner for a device that has none; by identifier in the order of the
-- parameter, and by the id of the owner
--   revision     integer, the revision that all this was read at; the same in all rows
--   n            integer, the position of the identifier, starting at 1
--   device_id    blob, null if there is no such device
--   device_type  text
--   customer_id  blob, null if the device has no owner
--   email        text
--   assigned_at  text
WITH head AS MATERIALIZED (
    SELECT coalesce(
        (
            SELECT log.revision
            FROM change_log AS log
            WHERE log.organization_id = ?1
            ORDER BY log.revision DESC
            LIMIT 1
        ),
        0
    ) AS revision
)
SELECT
    (SELECT head.revision FROM head) AS revision,
    named.key + 1 AS n,
    device.id AS device_id,
    device.device_type,
    owner.customer_id,
    (
        SELECT customer.email
        FROM customer
        WHERE customer.organization_id = ?1 AND customer.id = owner.customer_id
    ) AS email,
    owner.created_at AS assigned_at
FROM json_each(?3) AS named
LEFT JOIN device ON device.organization_id = ?1 AND device.identifier = named.value ->> 0
LEFT JOIN device_assignment AS owner INDEXED BY device_assignment_device
    ON owner.organization_id = ?1
    AND owner.device_id = device.id
    -- The first owner beyond the limit, or what is greater than any id.
    AND owner.customer_id < coalesce(
        (
            SELECT a.customer_id
            FROM device_assignment AS a
            WHERE a.organization_id = ?1 AND a.device_id = device.id
            ORDER BY a.customer_id
            LIMIT 1 OFFSET ?2
        ),
        x'ffffffffffffffffffffffffffffffffff'
    )
ORDER BY named.key, owner.customer_id;
