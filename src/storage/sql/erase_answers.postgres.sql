-- Deletes the stored answers that name one of these customers, who are erased.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  ids of the customers
--
-- In psql: PREPARE erase_answers (uuid, uuid[]) AS, then this file.
DELETE FROM idempotency_key
WHERE organization_id = $1 AND customers && $2;
