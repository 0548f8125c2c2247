-- When a key was last used, coarsely: instances write it about once a minute. A column without a default is added
-- without a look at the rows.
ALTER TABLE api_key ADD COLUMN last_used_at timestamptz;
