-- Finds the stored answers of calls with an idempotency key. Changes nothing.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  now, in whole seconds: an answer that expires by then is not found
--   ?3  text  SHA-256 of each key, in hexadecimal: [["9f86..."], ...]
--
-- Result: one row for each key that is found: the key, the hash of the request, the revision, and the message of the answer
SELECT stored.key, stored.request, stored.revision, stored.answer
FROM idempotency_key AS stored
WHERE stored.organization_id = ?1
    AND stored.key IN (SELECT unhex(value ->> 0) FROM json_each(?3))
    AND stored.expires_at > ?2;
