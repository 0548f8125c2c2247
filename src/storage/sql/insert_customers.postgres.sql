-- Creates customers. A customer that exists already is an error (unique_violation): another writer created it after the
-- calls were planned, and the transaction has to be planned again.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  creation time
--   $3  uuid[]       ids
--   $4  text[]       email addresses
--   $5  text[]       names
--   $6  text[]       phone numbers
--   $7  text[]       addresses
--   $8  text[]       metadata, JSON objects
--
-- In psql: PREPARE insert_customers (uuid, timestamptz, uuid[], text[], text[], text[], text[], text[]) AS, then this file.
INSERT INTO customer (organization_id, id, email, name, phone, address, metadata, created_at)
SELECT $1, row.id, row.email, row.name, row.phone, row.address, row.metadata, $2
FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
    AS row (id, email, name, phone, address, metadata);
