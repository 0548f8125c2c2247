-- Finds the types of devices.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid[]  devices
--
-- Result: one row for each device that exists
--   id           uuid
--   device_type  text
SELECT device.id, device.device_type
FROM unnest($2::uuid[]) AS named (id)
CROSS JOIN LATERAL (
    SELECT known.id, known.device_type
    FROM device AS known
    WHERE known.organization_id = $1 AND known.id = named.id
    OFFSET 0
) AS device;
