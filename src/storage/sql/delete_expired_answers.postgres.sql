-- Deletes stored answers that have expired, the oldest first. Not part of a call, so that it concerns all organizations. Instances
-- that delete at the same time leave each other's rows out. The rows are chosen first: joined with them, the whole table would be read,
-- because a plan for any parameters expects a tenth of the table.
--
-- Parameters
--   $1  timestamptz  now
--   $2  bigint       the most answers to delete
--
-- In psql: PREPARE delete_expired_answers (timestamptz, bigint) AS, then this file.
DELETE FROM idempotency_key
WHERE ctid = ANY (
    ARRAY(
        SELECT old.ctid
        FROM idempotency_key AS old
        WHERE old.expires_at <= $1
        ORDER BY old.expires_at
        LIMIT $2
        FOR UPDATE SKIP LOCKED
    )
);
