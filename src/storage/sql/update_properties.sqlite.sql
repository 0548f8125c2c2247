-- Changes the properties of devices.
--
-- Parameters
--   ?1  blob  organization
--   ?2  text  devices: [[identifier, properties], ...]
--
-- In sqlite3: .parameter set ?1 "x'0190...'" and so on, then this file.
--
-- An upsert of rows that exist. For an UPDATE, SQLite may search the list once for each device of the organization; the
-- CROSS JOIN makes it look up each row of the list instead.
INSERT INTO device (organization_id, id, identifier, device_type, properties, created_at)
SELECT known.organization_id, known.id, known.identifier, known.device_type, row.value ->> 1, known.created_at
FROM json_each(?2) AS row
CROSS JOIN device AS known
WHERE known.organization_id = ?1 AND known.identifier = row.value ->> 0
ON CONFLICT DO UPDATE SET properties = excluded.properties;
