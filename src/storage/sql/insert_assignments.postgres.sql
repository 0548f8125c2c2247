-- Creates assignments. An assignment that exists already is an error (unique_violation): another writer created it after
-- the calls were planned, and the transaction has to be planned again.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  creation time
--   $3  uuid[]       customer ids
--   $4  uuid[]       device ids
--
-- In psql: PREPARE insert_assignments (uuid, timestamptz, uuid[], uuid[]) AS, then this file.
INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at)
SELECT $1, row.customer_id, row.device_id, $2
FROM unnest($3::uuid[], $4::uuid[]) AS row (customer_id, device_id);
