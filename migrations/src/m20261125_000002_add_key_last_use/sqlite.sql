-- When a key was last used; the service writes it about once a minute.
ALTER TABLE api_key ADD COLUMN last_used_at TEXT;
