-- Finds owners of devices, in the order of their ids.
--
-- Parameters
--   ?1  blob     organization
--   ?2  integer  the most owners to find of each device
--   ?3  text     identifiers of the devices: [["SN-1"], ...]
--
-- Result: one row for each device and owner
--   device_id    blob
--   customer_id  blob
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
SELECT a.device_id, a.customer_id
FROM json_each(?3) AS named
CROSS JOIN device
CROSS JOIN device_assignment AS a
WHERE
    device.organization_id = ?1 AND device.identifier = named.value ->> 0
    AND a.organization_id = ?1 AND a.device_id = device.id
    AND a.customer_id IN (
        SELECT first.customer_id
        FROM device_assignment AS first
        WHERE first.organization_id = ?1 AND first.device_id = device.id
        ORDER BY first.customer_id
        LIMIT ?2
    )
ORDER BY a.device_id, a.customer_id;
