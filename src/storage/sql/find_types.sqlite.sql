-- Finds the types of devices.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  identifiers: [["SN-1"], ...]
--
-- Result: one row for each identifier, in their order
--   device_type  text, null if there is no such device
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
SELECT (
    SELECT device.device_type
    FROM device
    WHERE device.organization_id = ?1 AND device.identifier = named.value ->> 0
) AS device_type
FROM json_each(?2) AS named
ORDER BY named.key;
