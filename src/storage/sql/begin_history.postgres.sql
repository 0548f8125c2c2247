-- Begins a new history.
--
-- Parameters
--   $1  uuid  its id
--
-- In psql: PREPARE begin_history (uuid) AS, then this file.
UPDATE history SET id = $1;
