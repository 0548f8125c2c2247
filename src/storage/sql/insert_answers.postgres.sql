-- Stores the answers of calls with an idempotency key. An expired answer is replaced. A key that somebody else has stored since it
-- was looked up is left out: then fewer rows are written than planned, and the group runs again.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  now
--   $3  timestamptz  when the answers expire
--   For each answer, in the order of the keys:
--   $4  bytea[]      SHA-256 of the key
--   $5  bytea[]      hash of the request
--   $6  bigint[]     revision
--   $7  bytea[]      message of the answer
--   $8  text[]       customers that the answer names, as the text of a uuid[], or null
--
-- In psql: PREPARE insert_answers (uuid, timestamptz, timestamptz, bytea[], bytea[], bigint[], bytea[], text[]) AS, then this file.
INSERT INTO idempotency_key (organization_id, key, request, revision, answer, customers, expires_at)
SELECT $1, new.key, new.request, new.revision, new.answer, new.customers::uuid[], $3
FROM unnest($4::bytea[], $5::bytea[], $6::bigint[], $7::bytea[], $8::text[])
    AS new (key, request, revision, answer, customers)
ON CONFLICT (organization_id, key) DO UPDATE
SET request = excluded.request,
    revision = excluded.revision,
    answer = excluded.answer,
    customers = excluded.customers,
    expires_at = excluded.expires_at
WHERE idempotency_key.expires_at <= $2;
