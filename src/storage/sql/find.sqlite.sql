-- Finds what a group of commands touches. Changes nothing.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  emails of the customers, each once: [["ann@example.com"], ...]
--   ?3  text  pairs of a customer (its index in ?2, starting at 0, or null for a device alone) and the identifier of a device:
--             [[0, "SN-1"], ...]
--
-- Result: one row for each pair, in the order of the pairs
--   customer_id     blob, null if there is no such customer
--   device_id       blob, null if there is no such device
--   is_assigned     1 if the customer owns the device, otherwise null
--   is_carried_out  0: nothing was written
--   revision        the revision that all this was read at; the same in all rows
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
WITH head AS MATERIALIZED (
    SELECT coalesce(max(revision), 0) AS revision
    FROM change_log
    WHERE organization_id = ?1
),
owner AS MATERIALIZED (
    SELECT
        key AS n,
        (
            SELECT customer.id
            FROM customer
            WHERE customer.organization_id = ?1 AND customer.email = value ->> 0
        ) AS id
    FROM json_each(?2)
),
known AS MATERIALIZED (
    SELECT
        pair.key AS n,
        (SELECT owner.id FROM owner WHERE owner.n = pair.value ->> 0) AS customer_id,
        (
            SELECT device.id
            FROM device
            WHERE device.organization_id = ?1 AND device.identifier = pair.value ->> 1
        ) AS device_id
    FROM json_each(?3) AS pair
)
SELECT
    known.customer_id,
    known.device_id,
    (
        SELECT true
        FROM device_assignment AS a
        WHERE a.organization_id = ?1 AND a.customer_id = known.customer_id AND a.device_id = known.device_id
    ) AS is_assigned,
    false AS is_carried_out,
    (SELECT head.revision FROM head) AS revision
FROM known
ORDER BY known.n;
