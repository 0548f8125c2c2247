-- Changes the types of devices. On Citus, which cannot find rows by their ctid. It ends abnormally when a column is set to an element
-- of an array.
--
-- Parameters
--   $1  uuid    organization
--   $2  text[]  identifiers of the devices
--   $3  text[]  device types
--
-- In psql: PREPARE update_device_types (uuid, text[], text[]) AS, then this file.
UPDATE device
SET device_type = named.device_type
FROM unnest($2::text[], $3::text[]) AS named (identifier, device_type)
WHERE device.organization_id = $1 AND device.identifier = named.identifier;
