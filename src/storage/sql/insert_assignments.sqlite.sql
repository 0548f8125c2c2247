-- Creates assignments. An assignment that exists already is an error (SQLITE_CONSTRAINT_PRIMARYKEY): another writer
-- created it after the calls were planned, and the transaction has to be planned again.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  creation time, RFC 3339
--   ?3  text  assignments, ids in hexadecimal: [[customer id, device id], ...]
--
-- In sqlite3 (3.41 or later): .parameter set ?1 "x'0190...'" and so on, then this file.
INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at)
SELECT ?1, unhex(value ->> 0), unhex(value ->> 1), ?2
FROM json_each(?3);
