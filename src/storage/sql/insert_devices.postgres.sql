-- Creates devices. A device that exists already is an error (unique_violation): another writer created it after the calls
-- were planned, and the transaction has to be planned again.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  creation time
--   $3  uuid[]       ids
--   $4  text[]       identifiers
--   $5  text[]       device types
--   $6  text[]       properties, JSON objects, or null for none
--
-- In psql: PREPARE insert_devices (uuid, timestamptz, uuid[], text[], text[], text[]) AS, then this file.
INSERT INTO device (organization_id, id, identifier, device_type, properties, created_at)
SELECT $1, row.id, row.identifier, row.device_type, coalesce(row.properties, '{}'), $2
FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[]) AS row (id, identifier, device_type, properties);
