-- Lists the devices of one customer, in the order of their identifiers, and counts them.
--
-- Parameters
--   $1  uuid    organization
--   $2  uuid    customer
--   $3  bigint  the most devices to list
--
-- Result: one row for each listed device, or a single row without a device if there is none
--   identifier  text
--   id          uuid
--   count       bigint, how many devices the customer has; the same in all rows
SELECT listed.identifier, listed.id, owned.count
FROM (
    SELECT count(*) AS count
    FROM device_assignment AS a
    WHERE a.organization_id = $1 AND a.customer_id = $2
) AS owned
LEFT JOIN LATERAL (
    SELECT device.identifier, device.id
    FROM device_assignment AS a
    CROSS JOIN LATERAL (
        SELECT known.identifier, known.id
        FROM device AS known
        WHERE known.organization_id = $1 AND known.id = a.device_id
        OFFSET 0
    ) AS device
    WHERE a.organization_id = $1 AND a.customer_id = $2
    ORDER BY device.identifier
    LIMIT $3
) AS listed ON true;
