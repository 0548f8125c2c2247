-- Lists the devices of one customer, in the order of their identifiers, and counts them.
--
-- All devices of the customer have to be sorted for that. Of a customer with many, the first devices of the organization are tried
-- before, as many as the customer has: if most devices belong to it, they are enough.
--
-- Parameters
--   ?1  blob     organization
--   ?2  blob     customer
--   ?3  integer  the most devices to list
--
-- Result: one row for each listed device, or a single row without a device if there is none
--   identifier  text
--   id          blob
--   count       integer, how many devices the customer has; the same in all rows
WITH owned AS MATERIALIZED (
    SELECT count(*) AS count
    FROM device_assignment
    WHERE organization_id = ?1 AND customer_id = ?2
),
tried AS MATERIALIZED (
    SELECT first.identifier, first.id
    FROM (
        SELECT identifier, id
        FROM device
        WHERE organization_id = ?1
        ORDER BY identifier
        LIMIT (SELECT CASE WHEN count > ?3 THEN count ELSE 0 END FROM owned)
    ) AS first
    WHERE EXISTS (
        SELECT 1
        FROM device_assignment AS a
        WHERE a.organization_id = ?1 AND a.device_id = first.id AND a.customer_id = ?2
    )
    -- In the order of the inner query: another ORDER BY would read all of it and sort.
    LIMIT ?3
)
SELECT listed.identifier, listed.id, owned.count
FROM owned
LEFT JOIN (
    SELECT identifier, id FROM tried WHERE (SELECT count(*) FROM tried) = ?3
    UNION ALL
    SELECT identifier, id
    FROM (
        SELECT device.identifier, device.id
        FROM device_assignment AS a
        CROSS JOIN device ON device.organization_id = ?1 AND device.id = a.device_id
        WHERE a.organization_id = ?1 AND a.customer_id = ?2 AND (SELECT count(*) FROM tried) < ?3
        ORDER BY device.identifier
        LIMIT ?3
    )
) AS listed ON true;
