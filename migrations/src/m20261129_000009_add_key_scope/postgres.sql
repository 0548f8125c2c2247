-- What a key may do: read, or read and write. Keys that were created before may write. A column with a constant default does not
-- rewrite the table.
ALTER TABLE api_key
    ADD COLUMN scope text COLLATE "C" NOT NULL DEFAULT 'write' CHECK (scope IN ('read', 'write'));
