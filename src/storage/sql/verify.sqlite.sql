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
WITH RECURSIVE
entry AS MATERIALIZED (
    SELECT *, row_number() OVER (ORDER BY revision) AS position
    FROM change_log
    WHERE organization_id = ?1
),
-- The positions of the longest list of ids, from 0. An id is 16 bytes.
number (n) AS (
    SELECT 0
    UNION ALL
    SELECT n + 1
    FROM number
    WHERE n + 1 < (
        SELECT max(
            coalesce(max(length(customers_created)), 0),
            coalesce(max(length(customers_deleted)), 0),
            coalesce(max(length(devices_created)), 0),
            coalesce(max(length(devices_deleted)), 0),
            coalesce(max(length(assigned_customers)), 0),
            coalesce(max(length(assigned_devices)), 0),
            coalesce(max(length(unassigned_customers)), 0),
            coalesce(max(length(unassigned_devices)), 0)
        ) / 16
        FROM entry
    )
),
customer_event AS (
    SELECT revision, substr(customers_created, n * 16 + 1, 16) AS id, true AS is_created
    FROM entry
    JOIN number ON n < length(customers_created) / 16
    UNION ALL
    SELECT revision, substr(customers_deleted, n * 16 + 1, 16), false
    FROM entry
    JOIN number ON n < length(customers_deleted) / 16
),
device_event AS (
    SELECT revision, substr(devices_created, n * 16 + 1, 16) AS id, true AS is_created
    FROM entry
    JOIN number ON n < length(devices_created) / 16
    UNION ALL
    SELECT revision, substr(devices_deleted, n * 16 + 1, 16), false
    FROM entry
    JOIN number ON n < length(devices_deleted) / 16
),
-- A list of one id stands for every position of the other list.
pair_event AS (
    SELECT
        revision,
        substr(assigned_customers, min(n * 16, length(assigned_customers) - 16) + 1, 16) AS customer_id,
        substr(assigned_devices, min(n * 16, length(assigned_devices) - 16) + 1, 16) AS device_id,
        true AS is_created
    FROM entry
    JOIN number ON n < max(length(assigned_customers), length(assigned_devices)) / 16
    UNION ALL
    SELECT
        revision,
        substr(unassigned_customers, min(n * 16, length(unassigned_customers) - 16) + 1, 16),
        substr(unassigned_devices, min(n * 16, length(unassigned_devices) - 16) + 1, 16),
        false
    FROM entry
    JOIN number ON n < max(length(unassigned_customers), length(unassigned_devices)) / 16
),
customer_step AS MATERIALIZED (
    SELECT
        revision,
        id,
        is_created,
        coalesce(lag(is_created) OVER history, false) AS existed,
        lead(revision) OVER history IS NULL AS is_last
    FROM customer_event
    WINDOW history AS (PARTITION BY id ORDER BY revision, is_created)
),
device_step AS MATERIALIZED (
    SELECT
        revision,
        id,
        is_created,
        coalesce(lag(is_created) OVER history, false) AS existed,
        lead(revision) OVER history IS NULL AS is_last
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
        lead(revision) OVER history IS NULL AS is_last
    FROM pair_event
    WINDOW history AS (PARTITION BY customer_id, device_id ORDER BY revision, is_created)
)
SELECT 'the revisions have a gap before this one' AS problem, revision, NULL AS customer, NULL AS device
FROM (SELECT revision, position, lag(revision - position, 1, 0) OVER (ORDER BY revision) AS gap FROM entry) AS entry
WHERE revision - position <> gap
UNION ALL
SELECT iif(is_created, 'a customer is created twice', 'a customer is deleted that does not exist'), revision, id, NULL
FROM customer_step
WHERE is_created = existed
UNION ALL
SELECT iif(is_created, 'a device is created twice', 'a device is deleted that does not exist'), revision, NULL, id
FROM device_step
WHERE is_created = existed
UNION ALL
SELECT
    iif(is_created, 'an assignment is created twice', 'an assignment is removed that does not exist'),
    revision,
    customer_id,
    device_id
FROM pair_step
WHERE is_created = existed
UNION ALL
SELECT
    iif(stored.id IS NULL, 'a customer of the log is missing', 'a customer is not in the log'),
    logged.revision,
    coalesce(logged.id, stored.id),
    NULL
FROM (SELECT id, revision FROM customer_step WHERE is_last AND is_created) AS logged
FULL JOIN (SELECT id FROM customer WHERE organization_id = ?1) AS stored ON stored.id = logged.id
WHERE stored.id IS NULL OR logged.id IS NULL
UNION ALL
SELECT
    iif(stored.id IS NULL, 'a device of the log is missing', 'a device is not in the log'),
    logged.revision,
    NULL,
    coalesce(logged.id, stored.id)
FROM (SELECT id, revision FROM device_step WHERE is_last AND is_created) AS logged
FULL JOIN (SELECT id FROM device WHERE organization_id = ?1) AS stored ON stored.id = logged.id
WHERE stored.id IS NULL OR logged.id IS NULL
UNION ALL
SELECT
    iif(stored.device_id IS NULL, 'an assignment of the log is missing', 'an assignment is not in the log'),
    logged.revision,
    coalesce(logged.customer_id, stored.customer_id),
    coalesce(logged.device_id, stored.device_id)
FROM (SELECT customer_id, device_id, revision FROM pair_step WHERE is_last AND is_created) AS logged
FULL JOIN (SELECT customer_id, device_id FROM device_assignment WHERE organization_id = ?1) AS stored
    ON stored.customer_id = logged.customer_id AND stored.device_id = logged.device_id
WHERE stored.device_id IS NULL OR logged.device_id IS NULL
UNION ALL
SELECT 'an assignment has no customer or no device', NULL, a.customer_id, a.device_id
FROM device_assignment AS a
WHERE a.organization_id = ?1
    AND (
        NOT EXISTS (SELECT 1 FROM customer AS c WHERE c.organization_id = ?1 AND c.id = a.customer_id)
        OR NOT EXISTS (SELECT 1 FROM device AS d WHERE d.organization_id = ?1 AND d.id = a.device_id)
    );
