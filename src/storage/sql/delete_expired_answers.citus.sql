-- Deletes stored answers that have expired, the oldest first. Not part of a call, so that it concerns all organizations. On Citus,
-- which does not lock rows on several servers: instances that delete at the same time do so one after the other.
--
-- Parameters
--   $1  timestamptz  now
--   $2  bigint       the most answers to delete
--
-- In psql: PREPARE delete_expired_answers (timestamptz, bigint) AS, then this file.
DELETE FROM idempotency_key AS stored
USING (
    SELECT old.organization_id, old.key
    FROM idempotency_key AS old
    WHERE old.expires_at <= $1
    ORDER BY old.expires_at
    LIMIT $2
) AS expired
WHERE stored.organization_id = expired.organization_id AND stored.key = expired.key;
