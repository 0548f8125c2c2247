-- Deletes devices. They must not have assignments.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  devices, ids in hexadecimal: [["0190..."], ...]
DELETE FROM device
WHERE (organization_id, id) IN (
    SELECT ?1, unhex(value ->> 0)
    FROM json_each(?2)
);
