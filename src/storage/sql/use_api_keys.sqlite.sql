-- Stores when API keys were last used, unless a later use is stored already. Not part of a call, so that it may concern
-- several organizations.
--
-- Parameters
--   ?1  text  uses, ids in hexadecimal, times in RFC 3339: [[organization, id of the key, time], ...]
--
-- In sqlite3 (3.41 or later): .parameter set ?1 '[["0190...", "0190...", "2026-01-01T00:00:00Z"]]', then this file.
UPDATE api_key
SET last_used_at = used.value ->> 2
FROM json_each(?1) AS used
WHERE api_key.organization_id = unhex(used.value ->> 0)
    AND api_key.id = unhex(used.value ->> 1)
    AND (api_key.last_used_at IS NULL OR api_key.last_used_at < used.value ->> 2);
