-- Finds the types of devices.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  devices, as hexadecimal digits: [["0190..."], ...]
--
-- Result: one row for each device that exists
--   id           blob
--   device_type  text
SELECT device.id, device.device_type
FROM json_each(?2) AS named
CROSS JOIN device
WHERE device.organization_id = ?1 AND device.id = unhex(named.value ->> 0);
