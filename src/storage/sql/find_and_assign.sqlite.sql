-- Finds the customers, devices and assignments that a group of calls names. SQLite cannot insert within a query, so that
-- creating assignments is always another statement.
--
-- Parameters
--   ?1  blob     organization
--   ?2  text     not used, for the same numbers as on PostgreSQL
--   ?3  integer  not used
--   ?4  text     email addresses of the customers, each once: [["ann@example.com"], ...]
--   ?5  text     pairs of a customer (its index in ?4, starting at 0) and a device identifier: [[0, "SN-1"], ...]
--
-- Result: one row for each pair, in the order of the pairs
--   customer_id      blob, null if there is no such customer
--   device_id        blob, null if there is no such device
--   is_assigned      1 if the customer owns the device, otherwise null
--   is_written       always 0: nothing is created
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
WITH owner AS MATERIALIZED (
    SELECT
        key AS n,
        (
            SELECT customer.id
            FROM customer
            WHERE customer.organization_id = ?1 AND customer.email = value ->> 0
        ) AS id
    FROM json_each(?4)
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
    FROM json_each(?5) AS pair
)
SELECT
    known.customer_id,
    known.device_id,
    (
        SELECT true
        FROM device_assignment AS a
        WHERE a.organization_id = ?1 AND a.customer_id = known.customer_id AND a.device_id = known.device_id
    ) AS is_assigned,
    false AS is_written
FROM known
ORDER BY known.n;
