-- Changes the properties of devices. On Citus, which cannot find rows by their ctid. It ends abnormally when a column is set to an
-- element of an array.
--
-- Parameters
--   $1  uuid    organization
--   $2  text[]  identifiers of the devices
--   $3  text[]  properties, JSON objects
--
-- In psql: PREPARE update_properties (uuid, text[], text[]) AS, then this file.
UPDATE device
SET properties = named.properties
FROM unnest($2::text[], $3::text[]) AS named (identifier, properties)
WHERE device.organization_id = $1 AND device.identifier = named.identifier;
