-- Finds which of the API keys that somebody follows changes with are revoked. Not part of a call, so that it may concern several
-- organizations.
--
-- Parameters
--   ?1  text  keys, ids in hexadecimal: [[organization, id of the key], ...]
--
-- Result: one row for each key that is revoked or no longer exists
--   id  blob
--
-- In sqlite3 (3.41 or later): .parameter set ?1 '[["0190...", "0190..."]]', then this file.
SELECT unhex(followed.value ->> 1) AS id
FROM json_each(?1) AS followed
WHERE NOT EXISTS (
    SELECT 1
    FROM api_key
    WHERE api_key.organization_id = unhex(followed.value ->> 0)
        AND api_key.id = unhex(followed.value ->> 1)
        AND api_key.revoked_at IS NULL
);
