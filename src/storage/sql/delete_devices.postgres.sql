-- Deletes devices. They must not have assignments.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  devices
--
-- In psql: PREPARE delete_devices (uuid, uuid[]) AS, then this file.
DELETE FROM device
WHERE organization_id = $1 AND id = ANY ($2::uuid[]);
