-- Stores the answers of calls with an idempotency key. An expired answer is replaced. A key that somebody else has stored since it
-- was looked up is left out: then fewer rows are written than planned, and the group runs again.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  now, in whole seconds
--   ?3  text  when the answers expire, in whole seconds
--   ?4  text  the answers in the order of the keys, each an array: SHA-256 of the key, hash of the request, revision, message of the
--             answer, customers that it names. Bytes and ids are hexadecimal digits; no customers are null
INSERT INTO idempotency_key (organization_id, key, request, revision, answer, customers, expires_at)
SELECT
    ?1,
    unhex(value ->> 0),
    unhex(value ->> 1),
    value ->> 2,
    unhex(value ->> 3),
    unhex(value ->> 4),
    ?3
FROM json_each(?4)
WHERE true
ON CONFLICT (organization_id, key) DO UPDATE
SET request = excluded.request,
    revision = excluded.revision,
    answer = excluded.answer,
    customers = excluded.customers,
    expires_at = excluded.expires_at
WHERE idempotency_key.expires_at <= ?2;
