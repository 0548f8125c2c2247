-- Creates devices. A device that exists already is an error (SQLITE_CONSTRAINT_UNIQUE): another writer created it after
-- the calls were planned, and the transaction has to be planned again.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  creation time, RFC 3339
--   ?3  text  devices, ids in hexadecimal, properties or null for none: [[id, identifier, device type, properties], ...]
--
-- In sqlite3 (3.41 or later): .parameter set ?1 "x'0190...'" and so on, then this file.
INSERT INTO device (organization_id, id, identifier, device_type, properties, created_at)
SELECT ?1, unhex(value ->> 0), value ->> 1, value ->> 2, coalesce(value ->> 3, '{}'), ?2
FROM json_each(?3);
