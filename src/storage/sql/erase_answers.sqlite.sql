-- Erases the messages of stored answers that name one of these customers, who are erased. The keys stay: their calls are not to be
-- carried out again.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  ids of the customers, in hexadecimal: [["0190..."], ...]
UPDATE idempotency_key
SET answer = x'',
    customers = NULL
WHERE organization_id = ?1
    AND EXISTS (SELECT 1 FROM json_each(?2) AS erased WHERE instr(idempotency_key.customers, unhex(erased.value ->> 0)) > 0);
