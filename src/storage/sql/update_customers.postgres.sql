-- Changes customers.
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
    email = ($3::text[])[array_position($2::uuid[], customer.id)],
    name = ($4::text[])[array_position($2::uuid[], customer.id)],
    phone = ($5::text[])[array_position($2::uuid[], customer.id)],
    address = ($6::text[])[array_position($2::uuid[], customer.id)],
    metadata = coalesce(($7::text[])[array_position($2::uuid[], customer.id)], customer.metadata)
WHERE organization_id = $1 AND id = ANY ($2::uuid[]);
