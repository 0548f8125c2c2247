-- Finds which of the API keys that somebody follows changes with are revoked. Not part of a call, so that it may concern several
-- organizations.
--
-- Parameters
--   $1  uuid[]  organizations
--   $2  uuid[]  ids of the keys
--
-- Result: one row for each key that is revoked or no longer exists
--   id  uuid
--
-- In psql: PREPARE find_revoked_keys (uuid[], uuid[]) AS, then this file.
SELECT followed.id
FROM unnest($1::uuid[], $2::uuid[]) AS followed (organization_id, id)
WHERE NOT EXISTS (
    SELECT
    FROM api_key
    WHERE api_key.organization_id = followed.organization_id AND api_key.id = followed.id AND api_key.revoked_at IS NULL
);
