-- Finds what a group of assignments touches, and carries the group out if nothing has to be created except assignments. Most
-- groups need no other statement.
--
-- Parameters
--   $1   uuid         organization
--   $2   timestamptz  time of the changes
--   $3   boolean      whether one of the commands creates devices that do not exist
--   $4   text[]       emails of the customers, each once
--   $5   uuid[]       for each command: the API key of its caller, if it has one
--   $6   text[]       for each command: the name of the operator, if it has one
--   $7   text[]       for each command: the id of its request
--   $8   integer[]    for each pair of a customer and a device: the index of the customer in $4, starting at 0
--   $9   text[]       for each pair: the identifier of the device
--   $10  integer[]    for each pair: the index of the first command that names it, starting at 0
--
-- Result: one row for each pair, in the order of the pairs
--   customer_id      uuid, null if there is no such customer
--   device_id        uuid, null if there is no such device
--   is_assigned      true if the customer owned the device before, otherwise null
--   is_carried_out   whether the missing assignments were created; the same in all rows
--   revision         the revision that all this was read at; the same in all rows
--
-- In psql: PREPARE find_and_assign (uuid, timestamptz, boolean, text[], uuid[], text[], text[], integer[], text[], integer[]) AS,
-- then this file.
--
-- It is one statement because all of it must see one snapshot: the revision, and the rows that belong to it. If somebody else
-- commits a change of the organization in between, the primary key of change_log refuses the entries, and nothing is written.
--
-- A writer that creates or removes something holds the exclusive lock of the organization. While it does, this statement writes
-- nothing: it would overtake a large call for ever.
--
-- Each row is looked up by its own subquery. The planner may turn a join into anything that its statistics suggest, and
-- the statistics of a table that is being filled are wrong.
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
),
pair AS MATERIALIZED (
    SELECT
        known.n,
        known.command,
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
            named.command,
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
        FROM unnest($8::integer[], $9::text[], $10::integer[]) WITH ORDINALITY AS named (owner, identifier, command, n)
        -- Keeps the planner from merging this SELECT into the outer one, which would look up each row twice.
        OFFSET 0
    ) AS known
),
plan AS MATERIALIZED (
    -- The lock is tried only if there is nothing to create.
    SELECT NOT EXISTS (
        SELECT
        FROM pair
        WHERE pair.customer_id IS NULL OR ($3 AND pair.device_id IS NULL)
    ) AND pg_try_advisory_xact_lock_shared(hashtextextended($1::text, 0)) AS is_carried_out
),
new_pair AS MATERIALIZED (
    SELECT pair.command, pair.customer_id, pair.device_id
    FROM pair
    WHERE pair.device_id IS NOT NULL AND pair.is_assigned IS NULL AND (SELECT plan.is_carried_out FROM plan)
),
-- Two writers meet at the entries of the log, and nowhere else.
entry AS (
    INSERT INTO change_log (
        organization_id, revision, at, kind, api_key_id, operator, request_id, assigned_customers, assigned_devices
    )
    SELECT
        $1,
        head.revision + row_number() OVER (ORDER BY change.command),
        $2,
        'assign',
        ($5::uuid[])[change.command + 1],
        ($6::text[])[change.command + 1],
        ($7::text[])[change.command + 1],
        ARRAY[change.customer_id],
        change.devices
    FROM (
        SELECT new_pair.command, new_pair.customer_id, array_agg(new_pair.device_id) AS devices
        FROM new_pair
        GROUP BY new_pair.command, new_pair.customer_id
    ) AS change
    CROSS JOIN head
    RETURNING revision
),
assignment AS (
    INSERT INTO device_assignment (organization_id, customer_id, device_id, created_at)
    SELECT $1, new_pair.customer_id, new_pair.device_id, $2
    FROM new_pair
    -- Makes sure that the entries are written first: PostgreSQL runs parts of a statement that nobody reads in any order.
    WHERE (SELECT count(*) FROM entry) > 0
    ORDER BY new_pair.customer_id, new_pair.device_id
)
SELECT
    pair.customer_id,
    pair.device_id,
    pair.is_assigned,
    (SELECT plan.is_carried_out FROM plan) AS is_carried_out,
    (SELECT head.revision FROM head) AS revision
FROM pair
ORDER BY pair.n;
