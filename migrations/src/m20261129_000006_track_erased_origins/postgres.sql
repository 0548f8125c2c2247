-- How far the operators and request ids of an organization's changes are emptied: they may be personal data, and are kept for 30
-- days. An index on the changes that still have some would cost every write; this costs one column. A column with a constant
-- default does not rewrite the table.
ALTER TABLE organization ADD COLUMN origins_erased_through bigint NOT NULL DEFAULT 0;
