-- Stores when API keys were last used, unless a later use is stored already: several instances report the same keys. Not
-- part of a call, so that it may concern several organizations.
--
-- Parameters
--   $1  uuid[]         organizations
--   $2  uuid[]         ids of the keys
--   $3  timestamptz[]  times of their last use
--
-- In psql: PREPARE use_api_keys (uuid[], uuid[], timestamptz[]) AS, then this file.
UPDATE api_key
SET last_used_at = used.at
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS used (organization_id, id, at)
WHERE api_key.organization_id = used.organization_id
    AND api_key.id = used.id
    AND (api_key.last_used_at IS NULL OR api_key.last_used_at < used.at);
