-- Removes assignments.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  customers and their devices, as hexadecimal digits: [["0190...", "0190..."], ...]
DELETE FROM device_assignment
WHERE (organization_id, customer_id, device_id) IN (
    SELECT ?1, unhex(value ->> 0), unhex(value ->> 1)
    FROM json_each(?2)
);
