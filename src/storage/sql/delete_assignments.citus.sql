-- Removes assignments. On Citus, which cannot find rows by their ctid.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  customers
--   $3  uuid[]  devices, each of the customer at the same position
--
-- In psql: PREPARE delete_assignments (uuid, uuid[], uuid[]) AS, then this file.
DELETE FROM device_assignment AS a
USING unnest($2::uuid[], $3::uuid[]) AS pair (customer_id, device_id)
WHERE a.organization_id = $1 AND a.customer_id = pair.customer_id AND a.device_id = pair.device_id;
