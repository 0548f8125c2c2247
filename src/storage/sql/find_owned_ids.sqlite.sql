-- Finds devices of a customer, in the order of their ids.
--
-- Parameters
--   ?1  blob     organization
--   ?2  blob     customer
--   ?3  integer  the most devices to find
--
-- Result: one row for each device
--   device_id  blob
SELECT a.device_id
FROM device_assignment AS a
WHERE a.organization_id = ?1 AND a.customer_id = ?2
ORDER BY a.device_id
LIMIT ?3;
