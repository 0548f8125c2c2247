-- Reads the properties of devices, or compares them with other ones: large objects stay in the database.
--
-- Parameters
--   $1  uuid    organization
--   $2  text[]  identifiers
--   $3  text[]  for each: the properties to compare with, or null to read them
--
-- Result: one row for each identifier, in their order
--   properties  text, null if there is no such device or if they are compared
--   is_same     true if they are those to compare with, otherwise false or null
--
-- In psql: PREPARE find_properties (uuid, text[], text[]) AS, then this file.
--
-- Each device is looked up by its own subquery: with a join, a plan made while the table is small reads all devices of the
-- organization.
SELECT
    CASE
        WHEN named.properties IS NULL THEN (
            SELECT device.properties
            FROM device
            WHERE device.organization_id = $1 AND device.identifier = named.identifier
        )
    END AS properties,
    (
        SELECT device.properties = named.properties
        FROM device
        WHERE device.organization_id = $1 AND device.identifier = named.identifier
    ) AS is_same
FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS named (identifier, properties, n)
ORDER BY named.n;
