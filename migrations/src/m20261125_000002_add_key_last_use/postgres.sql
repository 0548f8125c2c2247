-- When a key was last used; instances write it about once a minute. Adding a column without a default does not read the
-- rows.
ALTER TABLE api_key ADD COLUMN last_used_at timestamptz;
