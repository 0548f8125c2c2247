-- Finds the stored answers of calls with an idempotency key. Changes nothing.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  now: an answer that expires by then is not found
--   $3  bytea[]      SHA-256 of each key
--
-- Result: one row for each key that is found: the key, the hash of the request, the revision, and the message of the answer
--
-- In psql: PREPARE find_answers (uuid, timestamptz, bytea[]) AS, then this file.
SELECT stored.key, stored.request, stored.revision, stored.answer
FROM idempotency_key AS stored
WHERE stored.organization_id = $1 AND stored.key = ANY ($3) AND stored.expires_at > $2;
