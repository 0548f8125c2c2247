-- Compares the change log of an organization with its tables. No rows: they agree.
--
-- Parameters
--   ?1  blob  organization
--
-- Result: one row for each difference
--   problem   what is wrong
--   revision  the change that it is about, or null
--   customer  id of a customer, or null
--   device    id of a device, or null
--
-- In sqlite3: .parameter set ?1 "x'0190...'", then this file.
--
-- A list of ids is taken apart by a JSON array with as many elements. SQLite makes no index for a FULL JOIN, so each comparison is
-- two LEFT JOINs.
WITH
entry AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY revision) AS number
    FROM change_log
    WHERE organization_id = ?1
),
customer_event AS (
    SELECT revision, substr(customers_created, position.key * 16 + 1, 16) AS id, true AS is_created
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(length(customers_created) / 16)), '00', ',0'), 2) || ']') AS position
    UNION ALL
    SELECT revision, substr(customers_deleted, position.key * 16 + 1, 16), false
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(length(customers_deleted) / 16)), '00', ',0'), 2) || ']') AS position
),
device_event AS (
    SELECT revision, substr(devices_created, position.key * 16 + 1, 16) AS id, true AS is_created
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(length(devices_created) / 16)), '00', ',0'), 2) || ']') AS position
    UNION ALL
    SELECT revision, substr(devices_deleted, position.key * 16 + 1, 16), false
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(length(devices_deleted) / 16)), '00', ',0'), 2) || ']') AS position
),
-- A list of one id stands for every position of the other list.
pair_event AS (
    SELECT
        revision,
        substr(assigned_customers, min(position.key * 16, length(assigned_customers) - 16) + 1, 16) AS customer_id,
        substr(assigned_devices, min(position.key * 16, length(assigned_devices) - 16) + 1, 16) AS device_id,
        true AS is_created
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(max(length(assigned_customers), length(assigned_devices)) / 16)), '00', ',0'), 2) || ']') AS position
    UNION ALL
    SELECT
        revision,
        substr(unassigned_customers, min(position.key * 16, length(unassigned_customers) - 16) + 1, 16),
        substr(unassigned_devices, min(position.key * 16, length(unassigned_devices) - 16) + 1, 16),
        false
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(max(length(unassigned_customers), length(unassigned_devices)) / 16)), '00', ',0'), 2) || ']') AS position
),
customer_step AS MATERIALIZED (
    SELECT
        revision,
        id,
        is_created,
        coalesce(lag(is_created) OVER history, false) AS existed,
        lead(revision) OVER history AS next_revision
    FROM customer_event
    WINDOW history AS (PARTITION BY id ORDER BY revision, is_created)
),
device_step AS MATERIALIZED (
    SELECT
        revision,
        id,
        is_created,
        coalesce(lag(is_created) OVER history, false) AS existed,
        lead(revision) OVER history AS next_revision
    FROM device_event
    WINDOW history AS (PARTITION BY id ORDER BY revision, is_created)
),
pair_step AS MATERIALIZED (
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
SELECT 'the revisions have a gap before this one' AS problem, revision, NULL AS customer, NULL AS device
FROM (SELECT revision, number, lag(revision - number, 1, 0) OVER (ORDER BY revision) AS gap FROM entry) AS entry
WHERE revision - number <> gap
UNION ALL
SELECT 'the lists of customers and devices do not fit together', revision, NULL, NULL
FROM entry
WHERE (assigned_customers IS NULL) <> (assigned_devices IS NULL)
    OR (unassigned_customers IS NULL) <> (unassigned_devices IS NULL)
    OR (
        length(assigned_customers) <> length(assigned_devices)
        AND min(length(assigned_customers), length(assigned_devices)) <> 16
    )
    OR (
        length(unassigned_customers) <> length(unassigned_devices)
        AND min(length(unassigned_customers), length(unassigned_devices)) <> 16
    )
UNION ALL
SELECT 'a list of ids is cut off', revision, NULL, NULL
FROM entry
WHERE coalesce(length(customers_created) % 16, 0)
    OR coalesce(length(customers_updated) % 16, 0)
    OR coalesce(length(customers_deleted) % 16, 0)
    OR coalesce(length(devices_created) % 16, 0)
    OR coalesce(length(devices_updated) % 16, 0)
    OR coalesce(length(devices_deleted) % 16, 0)
    OR coalesce(length(assigned_customers) % 16, 0)
    OR coalesce(length(assigned_devices) % 16, 0)
    OR coalesce(length(unassigned_customers) % 16, 0)
    OR coalesce(length(unassigned_devices) % 16, 0)
UNION ALL
SELECT iif(is_created, 'a customer is created twice', 'a customer is deleted that does not exist'), revision, id, NULL
FROM customer_step
WHERE is_created = existed
UNION ALL
SELECT iif(is_created, 'a device is created twice', 'a device is deleted that does not exist'), revision, NULL, id
FROM device_step
WHERE is_created = existed
UNION ALL
SELECT 'a customer is changed that does not exist', changed.revision, changed.id, NULL
FROM (
    SELECT revision, substr(customers_updated, position.key * 16 + 1, 16) AS id
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(length(customers_updated) / 16)), '00', ',0'), 2) || ']') AS position
) AS changed
LEFT JOIN customer_event AS event ON event.id = changed.id AND event.revision <= changed.revision
GROUP BY changed.revision, changed.id
HAVING coalesce(sum(iif(event.is_created, 1, -1)), 0) < 1
UNION ALL
SELECT 'a device is changed that does not exist', changed.revision, NULL, changed.id
FROM (
    SELECT revision, substr(devices_updated, position.key * 16 + 1, 16) AS id
    FROM entry
    CROSS JOIN json_each('[' || substr(replace(hex(zeroblob(length(devices_updated) / 16)), '00', ',0'), 2) || ']') AS position
) AS changed
LEFT JOIN device_event AS event ON event.id = changed.id AND event.revision <= changed.revision
GROUP BY changed.revision, changed.id
HAVING coalesce(sum(iif(event.is_created, 1, -1)), 0) < 1
UNION ALL
SELECT
    iif(is_created, 'an assignment is created twice', 'an assignment is removed that does not exist'),
    revision,
    customer_id,
    device_id
FROM pair_step
WHERE is_created = existed
UNION ALL
SELECT 'an assignment of the log exists while its customer does not', pair.revision, pair.customer_id, pair.device_id
FROM pair_step AS pair
LEFT JOIN (SELECT id, revision, next_revision FROM customer_step WHERE is_created) AS life
    ON life.id = pair.customer_id
    AND life.revision <= pair.revision
    AND (life.next_revision IS NULL OR pair.next_revision <= life.next_revision)
WHERE pair.is_created AND life.id IS NULL
UNION ALL
SELECT 'an assignment of the log exists while its device does not', pair.revision, pair.customer_id, pair.device_id
FROM pair_step AS pair
LEFT JOIN (SELECT id, revision, next_revision FROM device_step WHERE is_created) AS life
    ON life.id = pair.device_id
    AND life.revision <= pair.revision
    AND (life.next_revision IS NULL OR pair.next_revision <= life.next_revision)
WHERE pair.is_created AND life.id IS NULL
UNION ALL
SELECT 'a customer of the log is missing', logged.revision, logged.id, NULL
FROM customer_step AS logged
LEFT JOIN customer AS stored ON stored.organization_id = ?1 AND stored.id = logged.id
WHERE logged.next_revision IS NULL AND logged.is_created AND stored.id IS NULL
UNION ALL
SELECT 'a customer is not in the log', NULL, stored.id, NULL
FROM customer AS stored
LEFT JOIN (SELECT id FROM customer_step WHERE next_revision IS NULL AND is_created) AS logged ON logged.id = stored.id
WHERE stored.organization_id = ?1 AND logged.id IS NULL
UNION ALL
SELECT 'a device of the log is missing', logged.revision, NULL, logged.id
FROM device_step AS logged
LEFT JOIN device AS stored ON stored.organization_id = ?1 AND stored.id = logged.id
WHERE logged.next_revision IS NULL AND logged.is_created AND stored.id IS NULL
UNION ALL
SELECT 'a device is not in the log', NULL, NULL, stored.id
FROM device AS stored
LEFT JOIN (SELECT id FROM device_step WHERE next_revision IS NULL AND is_created) AS logged ON logged.id = stored.id
WHERE stored.organization_id = ?1 AND logged.id IS NULL
UNION ALL
SELECT 'an assignment of the log is missing', logged.revision, logged.customer_id, logged.device_id
FROM pair_step AS logged
LEFT JOIN device_assignment AS stored
    ON stored.organization_id = ?1 AND stored.customer_id = logged.customer_id AND stored.device_id = logged.device_id
WHERE logged.next_revision IS NULL AND logged.is_created AND stored.device_id IS NULL
UNION ALL
SELECT 'an assignment is not in the log', NULL, stored.customer_id, stored.device_id
FROM device_assignment AS stored
LEFT JOIN (SELECT customer_id, device_id FROM pair_step WHERE next_revision IS NULL AND is_created) AS logged
    ON logged.customer_id = stored.customer_id AND logged.device_id = stored.device_id
WHERE stored.organization_id = ?1 AND logged.device_id IS NULL
UNION ALL
SELECT 'an assignment has no customer or no device', NULL, a.customer_id, a.device_id
FROM device_assignment AS a
WHERE a.organization_id = ?1
    AND (
        NOT EXISTS (SELECT 1 FROM customer AS c WHERE c.organization_id = ?1 AND c.id = a.customer_id)
        OR NOT EXISTS (SELECT 1 FROM device AS d WHERE d.organization_id = ?1 AND d.id = a.device_id)
    );
