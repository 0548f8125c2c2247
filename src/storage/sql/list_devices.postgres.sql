-- Lists the devices of one customer, in the order of their identifiers, and counts them.
--
-- All devices of the customer have to be sorted for that. Of a customer with many, the first devices of the organization are tried
-- before, as many as the customer has: if most devices belong to it, they are enough.
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
WITH owned AS MATERIALIZED (
    SELECT count(*) AS count
    FROM device_assignment AS a
    WHERE a.organization_id = $1 AND a.customer_id = $2
),
tried AS MATERIALIZED (
    SELECT first.identifier, first.id
    FROM (
        SELECT known.identifier, known.id
        FROM device AS known
        WHERE known.organization_id = $1
        ORDER BY known.identifier
        LIMIT (SELECT CASE WHEN count > $3 THEN count ELSE 0 END FROM owned)
    ) AS first
    WHERE (
        SELECT true
        FROM device_assignment AS a
        WHERE a.organization_id = $1 AND a.device_id = first.id AND a.customer_id = $2
    )
    ORDER BY first.identifier
    LIMIT $3
)
SELECT listed.identifier, listed.id, owned.count
FROM owned
LEFT JOIN LATERAL (
    SELECT tried.identifier, tried.id FROM tried WHERE (SELECT count(*) FROM tried) = $3
    UNION ALL
    SELECT sorted.identifier, sorted.id
    FROM (
        SELECT device.identifier, device.id
        FROM device_assignment AS a
        CROSS JOIN LATERAL (
            SELECT known.identifier, known.id
            FROM device AS known
            WHERE known.organization_id = $1 AND known.id = a.device_id
            OFFSET 0
        ) AS device
        WHERE a.organization_id = $1 AND a.customer_id = $2 AND (SELECT count(*) FROM tried) < $3
        ORDER BY device.identifier
        LIMIT $3
    ) AS sorted
) AS listed ON true;
