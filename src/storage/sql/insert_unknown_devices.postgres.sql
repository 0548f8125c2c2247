-- Creates the devices that do not exist yet, and leaves the others as they are.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  creation time
--   $3  uuid[]       ids
--   $4  text[]       identifiers
--   $5  text[]       device types
--
-- In psql: PREPARE insert_unknown_devices (uuid, timestamptz, uuid[], text[], text[]) AS, then this file.
INSERT INTO device (organization_id, id, identifier, device_type, created_at)
SELECT $1, row.id, row.identifier, row.device_type, $2
FROM unnest($3::uuid[], $4::text[], $5::text[]) AS row (id, identifier, device_type)
ON CONFLICT (organization_id, identifier) DO NOTHING;
