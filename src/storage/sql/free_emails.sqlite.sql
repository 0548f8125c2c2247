-- Takes the email addresses of customers away, so that other customers can get them. Each customer has its id as its address until
-- the next statement of the transaction.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  customers, ids in hexadecimal: [["0190..."], ...]
UPDATE customer
SET email = hex(id)
WHERE (organization_id, id) IN (
    SELECT ?1, unhex(value ->> 0)
    FROM json_each(?2)
);
