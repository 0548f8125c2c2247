-- Finds the emails of customers and the identifiers of devices. Those that no longer exist are left out. Changes nothing.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  ids of customers and devices in hexadecimal; one may be repeated: [[id], ...]
--
-- Result: one row for each customer and device that exists
--   id    blob
--   name  text, the email or the identifier
--
-- In sqlite3 (3.41 or later): .parameter set ?2 '[["0190..."]]' and so on, then this file.
WITH found AS MATERIALIZED (
    SELECT
        unhex(named.value ->> 0) AS id,
        coalesce(
            (
                SELECT device.identifier
                FROM device
                WHERE device.organization_id = ?1 AND device.id = unhex(named.value ->> 0)
            ),
            (
                SELECT customer.email
                FROM customer
                WHERE customer.organization_id = ?1 AND customer.id = unhex(named.value ->> 0)
            )
        ) AS name
    FROM json_each(?2) AS named
)
SELECT found.id, found.name
FROM found
WHERE found.name IS NOT NULL;
