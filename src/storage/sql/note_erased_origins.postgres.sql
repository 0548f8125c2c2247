-- Notes how far the operators and request ids of an organization's changes are emptied.
--
-- Parameters
--   $1  uuid    organization
--   $2  bigint  the revision of the last emptied change
--
-- In psql: PREPARE note_erased_origins (uuid, bigint) AS, then this file.
UPDATE organization
SET origins_erased_through = $2
WHERE id = $1 AND origins_erased_through < $2;
