-- Deletes stored answers that have expired, the oldest first. Not part of a call, so that it concerns all organizations.
--
-- Parameters
--   ?1  text     now, in whole seconds
--   ?2  integer  the most answers to delete
DELETE FROM idempotency_key
WHERE rowid IN (SELECT old.rowid FROM idempotency_key AS old WHERE old.expires_at <= ?1 ORDER BY old.expires_at LIMIT ?2);
