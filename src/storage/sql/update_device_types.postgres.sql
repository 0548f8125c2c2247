-- Changes the types of devices.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  devices
--   $3  text[]  device types
--
-- In psql: PREPARE update_device_types (uuid, uuid[], text[]) AS, then this file.
UPDATE device
SET device_type = row.device_type
FROM unnest($2::uuid[], $3::text[]) AS row (id, device_type)
WHERE device.organization_id = $1 AND device.id = row.id;
