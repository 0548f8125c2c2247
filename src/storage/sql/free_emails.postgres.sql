-- Takes the email addresses of customers away, so that other customers can get them. Each customer has its id as its address until
-- the next statement of the transaction.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  customers
--
-- In psql: PREPARE free_emails (uuid, uuid[]) AS, then this file.
UPDATE customer
SET email = id::text
WHERE organization_id = $1 AND id = ANY ($2::uuid[]);
