-- Creates the devices that do not exist yet, and leaves the others as they are.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  creation time, RFC 3339
--   ?3  text  devices, ids in hexadecimal: [[id, identifier, device type], ...]
--
-- In sqlite3 (3.41 or later): .parameter set ?1 "x'0190...'" and so on, then this file.
INSERT INTO device (organization_id, id, identifier, device_type, created_at)
SELECT ?1, unhex(value ->> 0), value ->> 1, value ->> 2, ?2
FROM json_each(?3)
-- Without a WHERE, SQLite takes ON CONFLICT for the ON of a join.
WHERE true
ON CONFLICT (organization_id, identifier) DO NOTHING;
