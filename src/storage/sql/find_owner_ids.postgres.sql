-- Finds owners of devices, in the order of their ids.
--
-- Parameters
--   $1  uuid    organization
--   $2  bigint  the most owners to find of each device
--   $3  text[]  identifiers of the devices
--
-- Result: one row for each device and owner
--   device_id    uuid
--   customer_id  uuid
--
-- In psql: PREPARE find_owner_ids (uuid, bigint, text[]) AS, then this file.
--
-- Each device is looked up by its own subquery: with a join, a plan made while the table is small reads all rows of the
-- organization.
SELECT owner.device_id, owner.customer_id
FROM (
    SELECT
        (
            SELECT device.id
            FROM device
            WHERE device.organization_id = $1 AND device.identifier = named.identifier
        ) AS device_id
    FROM unnest($3::text[]) AS named (identifier)
    OFFSET 0
) AS known
CROSS JOIN LATERAL (
    SELECT a.device_id, a.customer_id
    FROM device_assignment AS a
    WHERE a.organization_id = $1 AND a.device_id = known.device_id
    ORDER BY a.customer_id
    LIMIT $2
) AS owner
ORDER BY owner.device_id, owner.customer_id;
