-- Finds devices of a customer, in the order of their ids.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid    customer
--   $3  bigint  the most devices to find
--
-- Result: one row for each device
--   device_id  uuid
--
-- In psql: PREPARE find_owned_ids (uuid, uuid, bigint) AS, then this file.
SELECT a.device_id
FROM device_assignment AS a
WHERE a.organization_id = $1 AND a.customer_id = $2
ORDER BY a.device_id
LIMIT $3;
