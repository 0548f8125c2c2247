-- Finds the customers, devices and assignments that a group of calls names. If nothing has to be created except
-- assignments, it also creates those: most calls need no other statement.
--
-- Parameters
--   $1  uuid         organization
--   $2  timestamptz  creation time of new assignments
--   $3  boolean      whether one of the calls may create devices
--   $4  text[]       email addresses of the customers, each once
--   $5  integer[]    for each pair of a customer and a device: the customer's index in $4, starting at 0
--   $6  text[]       for each pair: the device identifier
--
-- Result: one row for each pair, in the order of the pairs
--   customer_id      uuid, null if there is no such customer
--   device_id        uuid, null if there is no such device
--   is_assigned      true if the customer owned the device before, otherwise null
--   is_written       whether the missing assignments were created; the same in all rows
--
-- In psql: PREPARE find_and_assign (uuid, timestamptz, boolean, text[], integer[], text[]) AS, then this file.
--
-- It is one statement because each statement sees what others have committed until then. With two, a device that another
-- writer creates and assigns in between would be reported as owned, and another device of the same call as unknown: no
-- order of the calls gives that result.
--
-- Each row is looked up by its own subquery. The planner may turn a join into anything that its statistics suggest, and
-- the statistics of a table that is being filled are wrong.
WITH pair AS MATERIALIZED (
    SELECT
        known.n,
        known.customer_id,
        known.device_id,
        (
            SELECT true
            FROM device_assignment AS a
            WHERE a.organization_id = $1 AND a.customer_id = known.customer_id AND a.device_id = known.device_id
        ) AS is_assigned
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
                FROM unnest($4::text[]) WITH ORDINALITY AS owner (email, n)
            )[named.owner + 1] AS customer_id,
            (
                SELECT device.id
                FROM device
                WHERE device.organization_id = $1 AND device.identifier = named.identifier
            ) AS device_id
        FROM unnest($5::integer[], $6::text[]) WITH ORDINALITY AS named (owner, identifier, n)
        -- Keeps the planner from merging this SELECT into the outer one, which would look up each row twice.
        OFFSET 0
    ) AS known
),
plan AS MATERIALIZED (
    SELECT NOT EXISTS (
        SELECT
        FROM pair
        WHERE pair.customer_id IS NULL OR ($3 AND pair.device_id IS NULL)
    ) AS creates_nothing
),
written AS (
    INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at)
    SELECT $1, pair.customer_id, pair.device_id, $2
    FROM pair
    WHERE pair.device_id IS NOT NULL AND pair.is_assigned IS NULL AND (SELECT creates_nothing FROM plan)
    ORDER BY pair.customer_id, pair.device_id
)
SELECT
    pair.customer_id,
    pair.device_id,
    pair.is_assigned,
    (SELECT creates_nothing FROM plan) AS is_written
FROM pair
ORDER BY pair.n;
