-- Reads the properties of devices, or compares them with other ones.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  identifiers, and the properties to compare with or null to read them: [["SN-1", "{}"], ...]
--
-- Result: one row for each identifier, in their order
--   properties  text, null if there is no such device or if they are compared
--   is_same     1 if they are those to compare with, otherwise 0 or null
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
SELECT
    CASE
        WHEN named.value ->> 1 IS NULL THEN (
            SELECT device.properties
            FROM device
            WHERE device.organization_id = ?1 AND device.identifier = named.value ->> 0
        )
    END AS properties,
    (
        SELECT device.properties = named.value ->> 1
        FROM device
        WHERE device.organization_id = ?1 AND device.identifier = named.value ->> 0
    ) AS is_same
FROM json_each(?2) AS named
ORDER BY named.key;
