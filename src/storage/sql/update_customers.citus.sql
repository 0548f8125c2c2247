-- Changes customers. On Citus, which ends abnormally when a column is set to an element of an array.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  customers
--   $3  text[]  email addresses
--   $4  text[]  names
--   $5  text[]  phone numbers
--   $6  text[]  addresses
--   $7  text[]  metadata, JSON objects, or null to keep it
--
-- In psql: PREPARE update_customers (uuid, uuid[], text[], text[], text[], text[], text[]) AS, then this file.
UPDATE customer
SET
    email = changed.email,
    name = changed.name,
    phone = changed.phone,
    address = changed.address,
    metadata = coalesce(changed.metadata, customer.metadata)
FROM unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
    AS changed (id, email, name, phone, address, metadata)
WHERE customer.organization_id = $1 AND customer.id = changed.id;
