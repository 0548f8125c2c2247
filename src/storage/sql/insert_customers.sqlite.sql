-- Creates customers. A customer that exists already is an error (SQLITE_CONSTRAINT_UNIQUE): another writer created it
-- after the calls were planned, and the transaction has to be planned again.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  creation time, RFC 3339
--   ?3  text  customers, ids in hexadecimal: [[id, email address, name, phone number, address, metadata], ...]
--
-- In sqlite3 (3.41 or later): .parameter set ?1 "x'0190...'" and so on, then this file.
INSERT INTO customer (organization_id, id, email, name, phone, address, metadata, created_at)
SELECT
    ?1,
    unhex(value ->> 0),
    value ->> 1,
    value ->> 2,
    value ->> 3,
    value ->> 4,
    value ->> 5,
    ?2
FROM json_each(?3);
