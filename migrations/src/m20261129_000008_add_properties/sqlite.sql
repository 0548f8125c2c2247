-- What callers store beside the name of a customer and the type of a device. Metadata and properties are JSON objects, kept as
-- the text that the caller sent. The service checks them.
ALTER TABLE customer ADD COLUMN phone TEXT NOT NULL DEFAULT '';
ALTER TABLE customer ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE customer ADD COLUMN metadata TEXT NOT NULL DEFAULT '{}';
ALTER TABLE device ADD COLUMN properties TEXT NOT NULL DEFAULT '{}';
