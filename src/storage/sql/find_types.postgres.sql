-- Finds the types of devices.
--
-- Parameters
--   $1  uuid    organization
--   $2  text[]  identifiers
--
-- Result: one row for each identifier, in their order
--   device_type  text, null if there is no such device
--
-- In psql: PREPARE find_types (uuid, text[]) AS, then this file.
SELECT (
    SELECT device.device_type
    FROM device
    WHERE device.organization_id = $1 AND device.identifier = named.identifier
) AS device_type
FROM unnest($2::text[]) WITH ORDINALITY AS named (identifier, n)
ORDER BY named.n;
