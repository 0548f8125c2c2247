-- The first 8 and the last 4 characters of a key, so that people recognize it in a list. Keys that were created before have
-- none. Of the 256 random bits of a key, more than 200 stay unknown.
ALTER TABLE api_key ADD COLUMN key_start TEXT;
ALTER TABLE api_key ADD COLUMN key_end TEXT;
