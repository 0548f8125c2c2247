-- Deletes customers. They must not have assignments.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  customers
--
-- In psql: PREPARE delete_customers (uuid, uuid[]) AS, then this file.
DELETE FROM customer
WHERE organization_id = $1 AND id = ANY ($2::uuid[]);
