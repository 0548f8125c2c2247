-- What callers store beside the name of a customer and the type of a device. Metadata and properties are JSON objects, kept as
-- the text that the caller sent: jsonb would reorder members and rewrite numbers. The service checks them. A column with a
-- constant default does not rewrite the table.
ALTER TABLE customer
    ADD COLUMN phone    text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN address  text COLLATE "C" NOT NULL DEFAULT '',
    ADD COLUMN metadata text COLLATE "C" NOT NULL DEFAULT '{}';

ALTER TABLE device
    ADD COLUMN properties text COLLATE "C" NOT NULL DEFAULT '{}';
