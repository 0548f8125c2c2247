-- Changes customers.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  customers, ids in hexadecimal, metadata or null to keep it:
--             [[id, email address, name, phone number, address, metadata], ...]
--
-- In sqlite3 (3.41 or later): .parameter set ?1 "x'0190...'" and so on, then this file.
UPDATE customer
SET (email, name, phone, address, metadata) = (
    SELECT value ->> 1, value ->> 2, value ->> 3, value ->> 4, coalesce(value ->> 5, customer.metadata)
    FROM json_each(?2)
    WHERE unhex(value ->> 0) = customer.id
)
WHERE (organization_id, id) IN (
    SELECT ?1, unhex(value ->> 0)
    FROM json_each(?2)
);
