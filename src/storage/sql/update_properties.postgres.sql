-- Changes the properties of devices.
--
-- Parameters
--   $1  uuid    organization
--   $2  text[]  identifiers of the devices
--   $3  text[]  properties, JSON objects
--
-- In psql: PREPARE update_properties (uuid, text[], text[]) AS, then this file.
--
-- Each row is looked up by its own subquery: with a join, a plan made while the table is small reads all devices of the
-- organization.
UPDATE device
SET properties = ($3::text[])[array_position($2::text[], device.identifier)]
WHERE ctid = ANY (
    ARRAY(
        SELECT (
            SELECT known.ctid
            FROM device AS known
            WHERE known.organization_id = $1 AND known.identifier = named.identifier
        )
        FROM unnest($2::text[]) AS named (identifier)
    )
);
