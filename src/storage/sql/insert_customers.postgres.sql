-- Creates customers. A customer that exists already is an error (unique_violation): another writer created it after the
-- calls were planned, and the transaction has to be planned again.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  creation time
--   $3  uuid[]       ids
--   $4  text[]       email addresses
--   $5  text[]       names
--
-- In psql: PREPARE insert_customers (uuid, timestamptz, uuid[], text[], text[]) AS, then this file.
INSERT INTO customer (organization_id, id, email, name, created_at)
SELECT $1, row.id, row.email, row.name, $2
FROM unnest($3::uuid[], $4::text[], $5::text[]) AS row (id, email, name);
