-- Finds what a group of commands touches. Changes nothing.
--
-- Parameters
--   $1  uuid       organization
--   $2  text[]     emails of the customers, each once
--   $3  integer[]  for each pair of a customer and a device: the index of the customer in $2, starting at 0, or null for a
--                  device alone
--   $4  text[]     for each pair: the identifier of the device
--
-- Result: one row for each pair, in the order of the pairs
--   customer_id     uuid, null if there is no such customer
--   device_id       uuid, null if there is no such device
--   is_assigned     true if the customer owns the device, otherwise null
--   is_carried_out  false: nothing was written
--   revision        the revision that all this was read at; the same in all rows
--
-- In psql: PREPARE find (uuid, text[], integer[], text[]) AS, then this file.
--
-- It is one statement because all of it must see one snapshot. Each row is looked up by its own subquery, because the planner
-- may turn a join into anything that its statistics suggest.
WITH head AS MATERIALIZED (
    SELECT coalesce(
        (
            SELECT log.revision
            FROM change_log AS log
            WHERE log.organization_id = $1
            ORDER BY log.revision DESC
            LIMIT 1
        ),
        0
    ) AS revision
)
SELECT
    known.customer_id,
    known.device_id,
    (
        SELECT true
        FROM device_assignment AS a
        WHERE a.organization_id = $1 AND a.customer_id = known.customer_id AND a.device_id = known.device_id
    ) AS is_assigned,
    false AS is_carried_out,
    (SELECT head.revision FROM head) AS revision
FROM (
    SELECT
        named.n,
        (
            -- All customers in one array: each is looked up once, however many devices it has.
            SELECT array_agg(
                (
                    SELECT customer.id
                    FROM customer
                    WHERE customer.organization_id = $1 AND customer.email = owner.email
                )
                ORDER BY owner.n
            )
            FROM unnest($2::text[]) WITH ORDINALITY AS owner (email, n)
        )[named.owner + 1] AS customer_id,
        (
            SELECT device.id
            FROM device
            WHERE device.organization_id = $1 AND device.identifier = named.identifier
        ) AS device_id
    FROM unnest($3::integer[], $4::text[]) WITH ORDINALITY AS named (owner, identifier, n)
    -- Keeps the planner from merging this SELECT into the outer one, which would look up each row twice.
    OFFSET 0
) AS known
ORDER BY known.n;
