-- Finds customers by email address or id.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  for each customer: its id, or null
--   $3  text[]  for each: its email address, or null if its id is given
--   $4  text[]  for each: metadata to compare with that of the customer, or null
--
-- Result: one row for each customer that exists
--   n                 bigint, the position of the customer in the arrays, from 1
--   id                uuid
--   email             text
--   name              text
--   phone             text
--   address           text
--   has_this_metadata true if the metadata is the same, otherwise false or null
--
-- In psql: PREPARE find_customers (uuid, uuid[], text[], text[]) AS, then this file.
--
-- Each customer is looked up by its own subquery: with a join, a plan made while the table is small reads all customers of the
-- organization.
SELECT
    named.n,
    known.id,
    known.email,
    known.name,
    known.phone,
    known.address,
    known.metadata = named.metadata AS has_this_metadata
FROM unnest($2::uuid[], $3::text[], $4::text[]) WITH ORDINALITY AS named (id, email, metadata, n)
CROSS JOIN LATERAL (
    SELECT by_id.*
    FROM customer AS by_id
    WHERE by_id.organization_id = $1 AND by_id.id = named.id
    UNION ALL
    SELECT by_email.*
    FROM customer AS by_email
    WHERE by_email.organization_id = $1 AND by_email.email = named.email
) AS known
ORDER BY named.n;
