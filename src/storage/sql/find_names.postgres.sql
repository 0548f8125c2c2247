-- Finds the emails of customers and the identifiers of devices. Those that no longer exist are left out. Changes nothing.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  ids of customers and devices; one may be repeated
--
-- Result: one row for each customer and device that exists
--   id    uuid
--   name  text, the email or the identifier
--
-- In psql: PREPARE find_names (uuid, uuid[]) AS, then this file.
SELECT found.id, found.name
FROM (
    SELECT
        named.id,
        coalesce(
            (SELECT device.identifier FROM device WHERE device.organization_id = $1 AND device.id = named.id),
            (SELECT customer.email FROM customer WHERE customer.organization_id = $1 AND customer.id = named.id)
        ) AS name
    FROM unnest($2::uuid[]) AS named (id)
    -- Keeps the planner from merging this SELECT into the outer one, which would look up each row twice.
    OFFSET 0
) AS found
WHERE found.name IS NOT NULL;
