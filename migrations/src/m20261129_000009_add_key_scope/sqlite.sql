-- What a key may do: read, or read and write. Keys that were created before may write.
ALTER TABLE api_key ADD COLUMN scope TEXT NOT NULL DEFAULT 'write' CHECK (scope IN ('read', 'write'));
