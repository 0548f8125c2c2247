-- Erases the messages of stored answers that name one of these customers, who are erased. The keys stay: their calls are not to be
-- carried out again.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  ids of the customers
--
-- In psql: PREPARE erase_answers (uuid, uuid[]) AS, then this file.
UPDATE idempotency_key
SET answer = '',
    customers = NULL
WHERE organization_id = $1 AND customers && $2;
