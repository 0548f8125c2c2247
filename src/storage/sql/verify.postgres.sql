-- Compares the change log of an organization with its tables. No rows: they agree.
--
-- Parameters
--   $1  uuid  organization
--
-- Result: one row for each difference
--   problem   what is wrong
--   revision  the change that it is about, or null
--   customer  id of a customer, or null
--   device    id of a device, or null
--
-- In psql: PREPARE verify (uuid) AS, then this file.
WITH entry AS (
    SELECT log.*, row_number() OVER (ORDER BY log.revision) AS position
    FROM change_log AS log
    WHERE log.organization_id = $1
),
customer_event AS (
    SELECT entry.revision, named.id, true AS is_created
    FROM entry
    CROSS JOIN unnest(entry.customers_created) AS named (id)
    UNION ALL
    SELECT entry.revision, named.id, false
    FROM entry
    CROSS JOIN unnest(entry.customers_deleted) AS named (id)
),
device_event AS (
    SELECT entry.revision, named.id, true AS is_created
    FROM entry
    CROSS JOIN unnest(entry.devices_created) AS named (id)
    UNION ALL
    SELECT entry.revision, named.id, false
    FROM entry
    CROSS JOIN unnest(entry.devices_deleted) AS named (id)
),
-- An array of one id stands for every position of the other array.
pair_event AS (
    SELECT
        entry.revision,
        coalesce(named.customer_id, entry.assigned_customers[1]) AS customer_id,
        coalesce(named.device_id, entry.assigned_devices[1]) AS device_id,
        true AS is_created
    FROM entry
    CROSS JOIN unnest(entry.assigned_customers, entry.assigned_devices) AS named (customer_id, device_id)
    UNION ALL
    SELECT
        entry.revision,
        coalesce(named.customer_id, entry.unassigned_customers[1]),
        coalesce(named.device_id, entry.unassigned_devices[1]),
        false
    FROM entry
    CROSS JOIN unnest(entry.unassigned_customers, entry.unassigned_devices) AS named (customer_id, device_id)
),
customer_step AS (
    SELECT
        revision,
        id,
        is_created,
        coalesce(lag(is_created) OVER history, false) AS existed,
        lead(revision) OVER history AS next_revision
    FROM customer_event
    WINDOW history AS (PARTITION BY id ORDER BY revision, is_created)
),
device_step AS (
    SELECT
        revision,
        id,
        is_created,
        coalesce(lag(is_created) OVER history, false) AS existed,
        lead(revision) OVER history AS next_revision
    FROM device_event
    WINDOW history AS (PARTITION BY id ORDER BY revision, is_created)
),
pair_step AS (
    SELECT
        revision,
        customer_id,
        device_id,
        is_created,
        coalesce(lag(is_created) OVER history, false) AS existed,
        lead(revision) OVER history AS next_revision
    FROM pair_event
    WINDOW history AS (PARTITION BY customer_id, device_id ORDER BY revision, is_created)
)
SELECT 'the revisions have a gap before this one' AS problem, revision, NULL::uuid AS customer, NULL::uuid AS device
FROM (SELECT revision, position, lag(revision - position, 1, 0::bigint) OVER (ORDER BY revision) AS gap FROM entry) AS entry
WHERE revision - position <> gap
UNION ALL
SELECT 'the lists of customers and devices do not fit together', revision, NULL, NULL
FROM entry
WHERE (assigned_customers IS NULL) <> (assigned_devices IS NULL)
    OR (unassigned_customers IS NULL) <> (unassigned_devices IS NULL)
    OR (
        cardinality(assigned_customers) <> cardinality(assigned_devices)
        AND least(cardinality(assigned_customers), cardinality(assigned_devices)) <> 1
    )
    OR (
        cardinality(unassigned_customers) <> cardinality(unassigned_devices)
        AND least(cardinality(unassigned_customers), cardinality(unassigned_devices)) <> 1
    )
UNION ALL
SELECT CASE WHEN is_created THEN 'a customer is created twice' ELSE 'a customer is deleted that does not exist' END, revision, id, NULL
FROM customer_step
WHERE is_created = existed
UNION ALL
SELECT CASE WHEN is_created THEN 'a device is created twice' ELSE 'a device is deleted that does not exist' END, revision, NULL, id
FROM device_step
WHERE is_created = existed
UNION ALL
SELECT 'a customer is changed that does not exist', changed.revision, changed.id, NULL
FROM (
    SELECT entry.revision, named.id
    FROM entry
    CROSS JOIN unnest(entry.customers_updated) AS named (id)
) AS changed
LEFT JOIN customer_event AS event ON event.id = changed.id AND event.revision <= changed.revision
GROUP BY changed.revision, changed.id
HAVING coalesce(sum(CASE WHEN event.is_created THEN 1 ELSE -1 END), 0) < 1
UNION ALL
SELECT 'a device is changed that does not exist', changed.revision, NULL, changed.id
FROM (
    SELECT entry.revision, named.id
    FROM entry
    CROSS JOIN unnest(entry.devices_updated) AS named (id)
) AS changed
LEFT JOIN device_event AS event ON event.id = changed.id AND event.revision <= changed.revision
GROUP BY changed.revision, changed.id
HAVING coalesce(sum(CASE WHEN event.is_created THEN 1 ELSE -1 END), 0) < 1
UNION ALL
SELECT
    CASE WHEN is_created THEN 'an assignment is created twice' ELSE 'an assignment is removed that does not exist' END,
    revision,
    customer_id,
    device_id
FROM pair_step
WHERE is_created = existed
UNION ALL
SELECT 'an assignment of the log exists while its customer does not', pair.revision, pair.customer_id, pair.device_id
FROM pair_step AS pair
WHERE pair.is_created
    AND NOT EXISTS (
        SELECT
        FROM customer_step AS life
        WHERE life.is_created
            AND life.id = pair.customer_id
            AND life.revision <= pair.revision
            AND (life.next_revision IS NULL OR pair.next_revision <= life.next_revision)
    )
UNION ALL
SELECT 'an assignment of the log exists while its device does not', pair.revision, pair.customer_id, pair.device_id
FROM pair_step AS pair
WHERE pair.is_created
    AND NOT EXISTS (
        SELECT
        FROM device_step AS life
        WHERE life.is_created
            AND life.id = pair.device_id
            AND life.revision <= pair.revision
            AND (life.next_revision IS NULL OR pair.next_revision <= life.next_revision)
    )
UNION ALL
SELECT
    CASE WHEN stored.id IS NULL THEN 'a customer of the log is missing' ELSE 'a customer is not in the log' END,
    logged.revision,
    coalesce(logged.id, stored.id),
    NULL
FROM (SELECT id, revision FROM customer_step WHERE next_revision IS NULL AND is_created) AS logged
FULL JOIN (SELECT id FROM customer WHERE organization_id = $1) AS stored ON stored.id = logged.id
WHERE stored.id IS NULL OR logged.id IS NULL
UNION ALL
SELECT
    CASE WHEN stored.id IS NULL THEN 'a device of the log is missing' ELSE 'a device is not in the log' END,
    logged.revision,
    NULL,
    coalesce(logged.id, stored.id)
FROM (SELECT id, revision FROM device_step WHERE next_revision IS NULL AND is_created) AS logged
FULL JOIN (SELECT id FROM device WHERE organization_id = $1) AS stored ON stored.id = logged.id
WHERE stored.id IS NULL OR logged.id IS NULL
UNION ALL
SELECT
    CASE WHEN stored.device_id IS NULL THEN 'an assignment of the log is missing' ELSE 'an assignment is not in the log' END,
    logged.revision,
    coalesce(logged.customer_id, stored.customer_id),
    coalesce(logged.device_id, stored.device_id)
FROM (SELECT customer_id, device_id, revision FROM pair_step WHERE next_revision IS NULL AND is_created) AS logged
FULL JOIN (SELECT customer_id, device_id FROM device_assignment WHERE organization_id = $1) AS stored
    ON stored.customer_id = logged.customer_id AND stored.device_id = logged.device_id
WHERE stored.device_id IS NULL OR logged.device_id IS NULL
UNION ALL
SELECT 'an assignment has no customer or no device', NULL, a.customer_id, a.device_id
FROM device_assignment AS a
WHERE a.organization_id = $1
    AND (
        NOT EXISTS (SELECT FROM customer AS c WHERE c.organization_id = $1 AND c.id = a.customer_id)
        OR NOT EXISTS (SELECT FROM device AS d WHERE d.organization_id = $1 AND d.id = a.device_id)
    );
