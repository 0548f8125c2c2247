-- Finds customers by email address or id.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  customers: id in hexadecimal or null, email address or null if the id is given, metadata to compare with or null:
--             [[null, "ann@example.com", null], ...]
--
-- Result: one row for each customer that exists
--   n                 integer, the position of the customer in the array, from 1
--   id                blob
--   email             text
--   name              text
--   phone             text
--   address           text
--   has_this_metadata 1 if the metadata is the same, otherwise 0 or null
--
-- In sqlite3 (3.41 or later): .parameter set ?1 "x'0190...'" and so on, then this file.
SELECT
    named.key + 1 AS n,
    known.id,
    known.email,
    known.name,
    known.phone,
    known.address,
    known.metadata = named.value ->> 2 AS has_this_metadata
FROM json_each(?2) AS named
CROSS JOIN customer AS known
WHERE known.rowid IN (
    SELECT by_id.rowid
    FROM customer AS by_id
    WHERE by_id.organization_id = ?1 AND by_id.id = unhex(named.value ->> 0)
    UNION ALL
    SELECT by_email.rowid
    FROM customer AS by_email
    WHERE by_email.organization_id = ?1 AND by_email.email = named.value ->> 1
)
ORDER BY named.key;
