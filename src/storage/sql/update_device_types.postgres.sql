-- Changes the type of devices that have another one.
--
-- Parameters
--   $1  uuid    organization
--   $2  text[]  identifiers
--   $3  text[]  device types
--
-- In psql: PREPARE update_device_types (uuid, text[], text[]) AS, then this file.
UPDATE device
SET device_type = row.device_type
FROM unnest($2::text[], $3::text[]) AS row (identifier, device_type)
WHERE device.organization_id = $1
    AND device.identifier = row.identifier
    AND device.device_type <> row.device_type;
