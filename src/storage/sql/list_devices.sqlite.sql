-- Lists the devices of one customer, in the order of their identifiers, and counts them.
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
SELECT listed.identifier, listed.id, owned.count
FROM (
    SELECT count(*) AS count
    FROM device_assignment
    WHERE organization_id = ?1 AND customer_id = ?2
) AS owned
LEFT JOIN (
    SELECT device.identifier, device.id
    FROM device_assignment AS a
    CROSS JOIN device ON device.organization_id = ?1 AND device.id = a.device_id
    WHERE a.organization_id = ?1 AND a.customer_id = ?2
    ORDER BY device.identifier
    LIMIT ?3
) AS listed ON true;
